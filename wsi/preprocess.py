"""Steps that change tiles before they are embedded, by name and in the order they are given.

Each tile is changed alone, so steps that look at neighbouring pixels see none beyond its edge:
`clahe` equalises within the tile, and in a rim of one (`denoise`) to four pixels (`sharpen`) the
edge's own pixels stand for what lies outside. Overlapping tiles may differ there.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.color import lab2rgb, rgb2lab
from skimage.exposure import equalize_adapthist

from wsi.slide import Pixels
from wsi.stain import (
    NotEstimable,
    estimate_colours,
    estimate_stains,
    normalise_colours,
    normalise_stains,
)

NOT_ESTIMATED = "stain_not_estimated"  # flag of a slide whose stain step leaves pixels unchanged
SAMPLE_STEP = 2  # every second row and column of the sample is enough for statistics
CLAHE_CLIP = 0.01  # share of a context's pixels that one grey level may hold
CLAHE_CONTEXTS = 8  # along each side of a tile
SHARPEN_SIGMA_PX, SHARPEN_AMOUNT = 1.0, 1.0

# Compare-exchanges after which the fifth of nine values is their median: Paeth, "Median finding
# on a 3 x 3 grid", in Graphics Gems, 1990.
MEDIAN_OF_NINE = (
    *((1, 2), (4, 5), (7, 8), (0, 1), (3, 4), (6, 7), (1, 2), (4, 5), (7, 8), (0, 3)),
    *((5, 8), (4, 7), (3, 6), (1, 4), (2, 5), (4, 7), (4, 2), (6, 4), (4, 2)),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A step made ready for one slide.

    Attributes
    ----------
    name
        One of `STEPS`.
    apply
        Changes tiles (B, S, S, 3) uint8 into as many of the same shape.
    parameters
        What it was made with, estimates included; stored beside the embeddings.
    flags
        What a person should know, such as `NOT_ESTIMATED`.
    """

    name: str
    apply: Callable[[Pixels], Pixels]
    parameters: Mapping[str, Any] = field(default_factory=dict)
    flags: tuple[str, ...] = ()


def check_names(names: Sequence[str]) -> None:
    """Raise `ValueError`, with the known names, where a name is none of `STEPS`."""
    unknown = [name for name in names if name not in STEPS]
    if unknown:
        raise ValueError(
            f"no preprocessing step is called {', '.join(map(repr, unknown))}: "
            f"the steps are {', '.join(STEPS)}"
        )


def needs_sample(names: Sequence[str]) -> bool:
    """Whether a step has to see some of a slide's tissue first."""
    return any(name in FITTED for name in names)


def fit_steps(names: Sequence[str], sample: Pixels) -> tuple[Step, ...]:
    """Make steps ready for one slide.

    Parameters
    ----------
    names
        Of `STEPS`, in the order in which they are applied.
    sample
        (K, S, S, 3) uint8, tiles of the slide's tissue. A step is fitted to what the steps before
        it make of them. Not looked at, and may be empty, where `needs_sample` says no.

    Raises
    ------
    ValueError
        If a name is unknown.
    """
    check_names(names)
    steps = []
    for position, name in enumerate(names):
        step = STEPS[name](sample)
        steps.append(step)
        if needs_sample(names[position + 1 :]):
            sample = step.apply(sample)
    return tuple(steps)


def apply_steps(steps: Sequence[Step], pixels: Pixels) -> Pixels:
    """Apply steps one after the other to tiles (B, S, S, 3)."""
    for step in steps:
        pixels = step.apply(pixels)
    return pixels


def _macenko(sample: Pixels) -> Step:
    stains = estimate_stains(sample[:, ::SAMPLE_STEP, ::SAMPLE_STEP])
    if isinstance(stains, NotEstimable):
        return _unchanged("macenko", stains)
    return Step(
        name="macenko",
        apply=lambda pixels: normalise_stains(pixels, stains),
        parameters={
            "vectors": stains.vectors.round(4).tolist(),
            "strengths": stains.strengths.round(4).tolist(),
        },
    )


def _reinhard(sample: Pixels) -> Step:
    colours = estimate_colours(sample[:, ::SAMPLE_STEP, ::SAMPLE_STEP])
    if isinstance(colours, NotEstimable):
        return _unchanged("reinhard", colours)
    return Step(
        name="reinhard",
        apply=lambda pixels: normalise_colours(pixels, colours),
        parameters={
            "mean": colours.mean.round(4).tolist(),
            "spread": colours.spread.round(4).tolist(),
        },
    )


def _unchanged(name: str, why: NotEstimable) -> Step:
    return Step(
        name=name,
        apply=lambda pixels: pixels,
        parameters={"not_estimated": why.reason},
        flags=(NOT_ESTIMATED,),
    )


def _clahe(_: Pixels) -> Step:
    return Step(
        name="clahe",
        apply=equalise,
        parameters={"clip": CLAHE_CLIP, "contexts": CLAHE_CONTEXTS},
    )


def _sharpen(_: Pixels) -> Step:
    return Step(
        name="sharpen",
        apply=sharpen,
        parameters={"sigma_px": SHARPEN_SIGMA_PX, "amount": SHARPEN_AMOUNT},
    )


def _denoise(_: Pixels) -> Step:
    return Step(name="denoise", apply=median_of_nine, parameters={"median_px": 3})


STEPS: Mapping[str, Callable[[Pixels], Step]] = {
    "macenko": _macenko,
    "reinhard": _reinhard,
    "clahe": _clahe,
    "sharpen": _sharpen,
    "denoise": _denoise,
}
FITTED = frozenset({"macenko", "reinhard"})


def equalise(pixels: Pixels) -> Pixels:
    """Contrast-limited adaptive histogram equalisation of L of CIELAB (Zuiderveld, 1994).

    Where a tile's L is one value there is nothing to equalise, and the tile stays.
    """
    changed = pixels.copy()
    for tile, out in zip(pixels, changed, strict=True):
        lab = rgb2lab(tile.astype(np.float32) / 255)
        light = lab[..., 0] / 100
        if np.ptp(light) > 0:
            context = max(1, len(light) // CLAHE_CONTEXTS)
            lab[..., 0] = 100 * equalize_adapthist(light, context, clip_limit=CLAHE_CLIP)
            out[:] = _as_bytes(lab2rgb(lab))
    return changed


def sharpen(pixels: Pixels) -> Pixels:
    """Unsharp mask: what a Gaussian blur takes away is added once more."""
    changed = np.empty_like(pixels)
    for tile, out in zip(pixels, changed, strict=True):
        light = tile.astype(np.float32) / 255
        soft = ndimage.gaussian_filter(light, (SHARPEN_SIGMA_PX, SHARPEN_SIGMA_PX, 0))
        out[:] = _as_bytes(light + SHARPEN_AMOUNT * (light - soft))
    return changed


def median_of_nine(pixels: Pixels) -> Pixels:
    """Median of each channel over 3 x 3 pixels, edges repeated."""
    changed = np.empty_like(pixels)
    for tile, out in zip(pixels, changed, strict=True):
        height, width = tile.shape[:2]
        padded = np.pad(tile, ((1, 1), (1, 1), (0, 0)), mode="edge")
        nine = [padded[y : y + height, x : x + width] for y in range(3) for x in range(3)]
        for a, b in MEDIAN_OF_NINE:
            nine[a], nine[b] = np.minimum(nine[a], nine[b]), np.maximum(nine[a], nine[b])
        out[:] = nine[4]
    return changed


def _as_bytes(light: NDArray[np.floating]) -> Pixels:
    """0-1 as 0-255."""
    return np.asarray(np.rint(np.clip(light, 0, 1) * 255), np.uint8)
