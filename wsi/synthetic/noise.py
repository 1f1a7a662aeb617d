"""Hashed noise: random numbers that depend on where they are, never on the order of asking."""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image
from scipy import ndimage

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

_MASK = 0xFFFFFFFF
_MARGIN = 3  # lattice samples beyond a window: bicubic needs two


def hashed(seed: int, *coords: ArrayLike) -> NDArray[np.uint32]:
    """Mix `seed` and integer coordinates into 32 well-spread bits.

    Parameters
    ----------
    seed
        Any integer; only its low 32 bits count.
    *coords
        Integer arrays that broadcast together; may be negative.

    Returns
    -------
    uint32 array of the broadcast shape.
    """
    shape = np.broadcast_shapes(*(np.shape(c) for c in coords))
    bits = np.full(shape or (1,), seed & _MASK, np.uint32)  # a 0-d array would warn on overflow
    for coord in coords:
        bits = bits ^ (np.asarray(coord, np.int64) & _MASK).astype(np.uint32)
        bits *= np.uint32(0x9E3779B1)
        bits ^= bits >> np.uint32(15)
        bits *= np.uint32(0x85EBCA77)
        bits ^= bits >> np.uint32(13)
        bits *= np.uint32(0xC2B2AE3D)
        bits ^= bits >> np.uint32(16)
    return bits.reshape(shape)


def uniform(seed: int, *coords: ArrayLike) -> Floats:
    """Return hashed numbers in [0, 1), float32, one per coordinate."""
    return np.asarray(
        (hashed(seed, *coords) >> np.uint32(8)).astype(np.float32) * np.float32(2**-24)
    )


def resampled(
    plane: Floats, *, box: tuple[float, float, float, float], size: tuple[int, int], cubic: bool
) -> Floats:
    """Interpolate a window of a plane of samples.

    Parameters
    ----------
    plane
        (H, W) samples; sample ``[j, i]`` lies at ``(i + 0.5, j + 0.5)``.
    box
        Left, top, right, bottom of the window, in samples, within the plane.
    size
        Width and height of the result, pixels.
    cubic
        Bicubic if true, else bilinear.

    Returns
    -------
    (height, width) float32.
    """
    how = Image.Resampling.BICUBIC if cubic else Image.Resampling.BILINEAR
    return np.asarray(Image.fromarray(plane).resize(size, how, box=box), dtype=np.float32)


def smooth(seed: int, *, x: float, y: float, width: int, height: int, step: float) -> Floats:
    """Return value noise over a window: smooth, zero mean, within about [-1, 1].

    Parameters
    ----------
    seed
        Which noise.
    x, y
        Top-left corner of the window, pixels; the frame is endless.
    width, height
        Size of the window, pixels.
    step
        Pixels between independent values: the grain of the noise.

    Returns
    -------
    (height, width) float32; the same value at a place whichever window it is seen through.
    """
    left, top = int(np.floor(x / step)) - _MARGIN, int(np.floor(y / step)) - _MARGIN
    across = int(np.ceil((x + width) / step)) + _MARGIN - left
    down = int(np.ceil((y + height) / step)) + _MARGIN - top
    cols, rows = np.arange(left, left + across), np.arange(top, top + down)
    values = uniform(seed, cols[None, :], rows[:, None]) * 2 - 1
    x0, y0 = x / step - left, y / step - top
    box = (x0, y0, x0 + width / step, y0 + height / step)
    return resampled(values, box=box, size=(width, height), cubic=True)


def fractal(seed: int, *, width: int, height: int, step: float, octaves: int) -> Floats:
    """Sum octaves of `smooth` noise, each half as wide and half as strong as the last.

    Parameters
    ----------
    seed
        Which noise.
    width, height
        Size of the window, pixels; its corner is (0, 0).
    step
        Grain of the first octave, pixels; octaves finer than 1.5 pixels are left out.
    octaves
        How many at most.

    Returns
    -------
    (height, width) float32, standard deviation about 0.5.
    """
    total = np.zeros((height, width), np.float32)
    for k in range(octaves):
        grain = step / 2**k
        if k and grain < 1.5:
            break
        total += smooth(seed + k, x=0, y=0, width=width, height=height, step=grain) * 0.5**k
    return total


def texture(seed: int, *, size: tuple[int, int], grains: tuple[tuple[float, float], ...]) -> Floats:
    """Make a texture that repeats without a seam, zero mean and unit deviation.

    Parameters
    ----------
    seed
        Which texture.
    size
        Height and width, pixels.
    grains
        Gaussian widths (down, across) of the noises summed with equal weight, pixels.

    Returns
    -------
    float32 array of `size`.
    """
    total = np.zeros(size, np.float32)
    for k, sigma in enumerate(grains):
        white = np.random.default_rng((seed & _MASK, k)).standard_normal(size, dtype=np.float32)
        soft: Floats = ndimage.gaussian_filter(white, sigma, mode="wrap")
        total += soft / soft.std()
    return np.asarray((total - total.mean()) / total.std(), np.float32)
