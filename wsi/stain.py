"""Stains: how much of each a picture holds, to make slides alike or, in training, different.

Light that passes a stain falls off exponentially with its amount (Beer and Lambert), so optical
density, minus the logarithm of the light that is left, adds up over stains. What is done to
stains is a 3 x 3 matrix on the density of red, green and blue.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wsi.slide import Pixels

# The density of each 8-bit value: 0 at 255, finite at 0.
DENSITY = -np.log((np.arange(256, dtype=np.float32) + 1) / 256)

STAINED = 0.15  # mean density of a pixel's channels from which it counts as tissue
LEAST_PIXELS = 1000  # stained pixels without which nothing is estimated
PERCENTILE = 1.0  # of angles left out at each end, and of amounts at the upper (Macenko et al.)
LEAST_ANGLE = np.deg2rad(8.0)  # between two stains; closer together, there is only one
NEGATIVE = -0.1  # a stain's density may be this much below zero, from noise

# Haematoxylin, eosin and DAB, density of red, green, blue: Ruifrok & Johnston,
# Anal Quant Cytol Histol 23:291-299, 2001.
HED = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11], [0.27, 0.57, 0.78]])
HED /= np.linalg.norm(HED, axis=1, keepdims=True)

# RGB to the cones' LMS and its logarithm to the decorrelated l, alpha, beta: Reinhard et al.,
# IEEE Comput Graph Appl 21(5):34-41, 2001, after Ruderman et al., J Opt Soc Am A 15:2036, 1998.
LMS = np.array(
    [[0.3811, 0.5783, 0.0402], [0.1967, 0.7244, 0.0782], [0.0241, 0.1288, 0.8444]]
)  # row by row L, M, S
LAB = np.array([[1, 1, 1], [1, 1, -2], [1, -1, 0]]) / np.sqrt([[3], [6], [2]])


@dataclass(frozen=True, slots=True, kw_only=True)
class Stains:
    """Two stains and how strong they are.

    `vectors` (2, 3): density of red, green, blue of haematoxylin, then eosin, of length 1.
    `strengths` (2,): the 99th percentile of their amounts over stained pixels.
    """

    vectors: NDArray[np.float64]
    strengths: NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class ColourStatistics:
    """Mean and standard deviation, (3,) each, of stained pixels in l, alpha, beta."""

    mean: NDArray[np.float64]
    spread: NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class NotEstimable:
    """Why stains could not be estimated; pixels are left as they are then."""

    reason: str


# What slides are made to look like: medians over estimates on H&E images of colon (CRC-VAL-HE-7K,
# CC BY 4.0) and skin (OpenSlide's CMU-1, CC0), rounded.
TARGET_STAINS = Stains(
    vectors=np.array([[0.52, 0.73, 0.42], [0.12, 0.88, 0.45]]), strengths=np.array([2.2, 1.3])
)
TARGET_COLOURS = ColourStatistics(
    mean=np.array([8.35, -0.14, 0.06]), spread=np.array([0.61, 0.09, 0.03])
)


def estimate_stains(pixels: Pixels) -> Stains | NotEstimable:
    """Estimate haematoxylin and eosin from uint8 pixels (..., 3) of one slide.

    Macenko et al., "A method for normalizing histology slides for quantitative analysis", ISBI
    2009: the densities of stained pixels lie in the plane of two vectors, at the edges of the
    wedge they fill. Unlike there, a pixel is stained by its mean density and not by that of each
    channel, which would drop all pale eosin.
    """
    density = _stained(pixels)
    if len(density) < LEAST_PIXELS:
        return NotEstimable(reason=f"{len(density)} stained pixels, of {LEAST_PIXELS} needed")
    _, directions = np.linalg.eigh(density.T @ density)
    plane = directions[:, :0:-1]  # the strongest first
    plane *= np.where(plane[1] < 0, -1, 1)  # the sign is arbitrary: towards more density in green
    angles = np.arctan2(*(density @ plane).T[::-1])
    edges = np.percentile(angles, [PERCENTILE, 100 - PERCENTILE])
    if edges[1] - edges[0] < LEAST_ANGLE:
        return NotEstimable(reason="all stained pixels have one colour")
    vectors = np.stack([np.cos(edges), np.sin(edges)], axis=1) @ plane.T
    if vectors.min() < NEGATIVE:
        return NotEstimable(reason="the colours are not those of two stains on a bright ground")
    # Haematoxylin absorbs red, eosin hardly.
    vectors = vectors[np.argsort(-vectors[:, 0])]
    amounts = density @ np.linalg.pinv(vectors)
    strengths = np.percentile(amounts, 100 - PERCENTILE, axis=0)
    if strengths.min() <= 0:
        return NotEstimable(reason="one of the two stains is absent")
    return Stains(vectors=vectors, strengths=strengths)


def normalise_stains(pixels: Pixels, stains: Stains, *, target: Stains = TARGET_STAINS) -> Pixels:
    """Make tiles (B, S, S, 3) look as if stained by `target`, amount by amount.

    What no mixture of the two stains explains is dropped, as in Macenko et al.
    """
    ratio = np.diag(target.strengths / stains.strengths)
    matrix = np.linalg.pinv(stains.vectors) @ ratio @ target.vectors
    count = len(pixels)
    return _change_density(pixels, np.tile(matrix, (count, 1, 1)), np.zeros((count, 3)))


def estimate_colours(pixels: Pixels) -> ColourStatistics | NotEstimable:
    """Statistics of the stained among uint8 pixels (..., 3), for `normalise_colours`."""
    density = _stained(pixels)
    if len(density) < LEAST_PIXELS:
        return NotEstimable(reason=f"{len(density)} stained pixels, of {LEAST_PIXELS} needed")
    colours = np.log(256 * np.exp(-density) @ LMS.T) @ LAB.T
    spread = colours.std(axis=0)
    if spread.min() < 1e-3:
        return NotEstimable(reason="all stained pixels have one colour")
    return ColourStatistics(mean=colours.mean(axis=0), spread=spread)


def normalise_colours(
    pixels: Pixels, colours: ColourStatistics, *, target: ColourStatistics = TARGET_COLOURS
) -> Pixels:
    """Give tiles (B, S, S, 3) the mean and spread of `target` in l, alpha, beta (Reinhard et al.).

    The colours are those of stained pixels; glass keeps its own, and between the two, from half
    of `STAINED` on, the change sets in with the density.
    """
    scale = np.diag(target.spread / colours.spread)
    # From log LMS to log LMS, through l, alpha, beta, in one matrix and one shift.
    matrix = (LAB.T @ scale @ np.linalg.inv(LAB.T)).astype(np.float32)
    shift = ((target.mean - colours.mean @ scale) @ np.linalg.inv(LAB.T)).astype(np.float32)
    into, back = LMS.T.astype(np.float32), np.linalg.inv(LMS.T).astype(np.float32)
    changed = np.empty_like(pixels)
    for tile, out in zip(pixels, changed, strict=True):
        flat = tile.reshape(-1, 3)
        new = np.exp(np.log((flat + np.float32(1)) @ into) @ matrix + shift) @ back - 1
        depth = np.take(DENSITY, flat).mean(axis=1, keepdims=True)
        share = np.clip(2 * depth / STAINED - 1, 0, 1)
        out[:] = _as_bytes(flat + share * (new - flat)).reshape(tile.shape)
    return changed


def jitter_hed(
    pixels: Pixels,
    *,
    scale: NDArray[np.floating],
    shift: NDArray[np.floating],
    vectors: NDArray[np.floating] = HED,
) -> Pixels:
    """Change how much haematoxylin, eosin and residue tiles (B, H, W, 3) hold, for augmentation.

    Tellez et al., IEEE Trans Med Imaging 37:2126-2136, 2018, with the vectors of `HED`.

    Parameters
    ----------
    scale, shift
        (B, 3) factor and summand of the three amounts, tile by tile; 1 and 0 change nothing.
    vectors
        (3, 3), or (B, 3, 3) tile by tile: the colours that the stains are given, as rows of
        optical density; `HED` leaves them as they are.
    """
    unmix = np.linalg.inv(HED)
    moved = np.squeeze(shift[:, None, :] @ vectors, axis=1)
    return _change_density(pixels, (unmix * scale[:, None, :]) @ vectors, moved)


def _stained(pixels: Pixels) -> NDArray[np.float64]:
    """(N, 3) densities of the pixels that hold stain."""
    density = np.take(DENSITY, pixels.reshape(-1, 3))
    return np.asarray(density[density.mean(axis=1) > STAINED], np.float64)


def _change_density(
    pixels: Pixels, matrices: NDArray[np.floating], shifts: NDArray[np.floating]
) -> Pixels:
    """Apply ``density @ matrix + shift``, (B, 3, 3) and (B, 3), to tiles (B, H, W, 3)."""
    changed = np.empty_like(pixels)
    # Tile by tile, so that what is in between fits the processor's cache.
    for tile, matrix, shift, out in zip(pixels, matrices, shifts, changed, strict=True):
        density = np.take(DENSITY, tile).reshape(-1, 3) @ matrix.astype(np.float32)
        light = np.exp(-(density + shift.astype(np.float32)))
        out[:] = _as_bytes(256 * light - 1).reshape(tile.shape)
    return changed


def _as_bytes(values: NDArray[np.floating]) -> Pixels:
    return np.asarray(np.rint(np.clip(values, 0, 255)), np.uint8)
