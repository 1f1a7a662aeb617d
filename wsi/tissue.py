"""Where the tissue is: Otsu on saturation without ink, and a flag for what it cannot judge."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from scipy import ndimage
from skimage.filters import threshold_otsu
from skimage.morphology import remove_small_holes, remove_small_objects

from wsi.errors import MaskError
from wsi.ink import find_ink
from wsi.overview import Overview
from wsi.slide import Pixels

Mask = NDArray[np.bool_]

OVERVIEW_MPP = 8.0  # µm per pixel the mask is made at: a cell or two, and 4 MP for a large slide
SMALL_SLIDE_PX = 512  # a slide is not reduced below this length, so that a single core is seen
SMOOTH_UM = 8.0  # saturation is averaged, and gaps are closed, over about a cell
SATURATION = (0.04, 0.12)  # Otsu's threshold is kept in here: paler is glass, more is tissue
DENSE_SATURATION = 0.06  # faint colour is enough where …
DENSE_GREEN = 155  # … two fifths of the green light or more are missing: grey-blue IHC, dense lymph
DARK = (0.25, 0.5)  # luminance: if the median and nine tenths are darker, no light came through
SMALLEST_UM = 30.0  # edge of the smallest piece of tissue, or hole in it, that counts


@dataclass(frozen=True, slots=True, kw_only=True)
class Tissue:
    """`mask` (H, W), True on tissue; one pixel is `downsample` level-0 pixels square.

    `flags` names what a person should know: ``fluorescence`` (dark background: nothing is called
    tissue), ``blank`` (nothing found), ``pen_marks`` (ink found and left out).
    """

    mask: Mask
    downsample: float
    flags: tuple[str, ...] = ()


def find_tissue(overview: Overview, *, level0_mpp: float) -> Tissue:
    """Separate stained tissue from glass in a brightfield overview.

    Saturation is thresholded by Otsu's method within fixed bounds (so that an empty slide or one
    full of tissue is not split in two); what lets little green light through needs less of it. Ink
    is left out, see `find_ink`, and pieces and holes smaller than `SMALLEST_UM` are dropped.
    """
    pixel_um = overview.downsample * level0_mpp
    if _is_dark(overview.pixels):
        empty = np.zeros(overview.pixels.shape[:2], np.bool_)
        return Tissue(mask=empty, downsample=overview.downsample, flags=("fluorescence",))
    ink = find_ink(overview.pixels, pixel_um=pixel_um)
    smooth = _saturation(overview.pixels, sigma_px=SMOOTH_UM / pixel_um)
    threshold = _threshold(smooth[~ink])
    smallest_px = max(1, round((SMALLEST_UM / pixel_um) ** 2))
    radius = max(1, round(SMOOTH_UM / pixel_um))
    dense = (smooth > 255 * DENSE_SATURATION) & (overview.pixels[..., 1] < DENSE_GREEN)
    stained = ((smooth > threshold) | dense) & ~ink
    mask = _close(_open(stained, radius), 2 * radius) & ~ink
    mask = remove_small_objects(mask, max_size=smallest_px)
    mask = remove_small_holes(mask, max_size=smallest_px) & ~ink
    if overview.unreadable is not None:
        # Nobody knows what is there; it counts as what is next to it, so that tiles on it are
        # tried and reported rather than passed over. So is a slide of which nothing is known.
        if overview.unreadable.all():
            mask[:] = True
        else:
            _, nearest = ndimage.distance_transform_edt(overview.unreadable, return_indices=True)
            mask = mask[tuple(nearest)]
    flags = []
    if ink.any():
        flags.append("pen_marks")
    if not mask.any():
        flags.append("blank")
    return Tissue(mask=mask, downsample=overview.downsample, flags=tuple(flags))


def _open(mask: Mask, radius: int) -> Mask:
    """Remove what is narrower than a square of 2 × `radius` + 1 pixels; the edge counts as more."""
    return ~_erode(~_erode(mask, radius), radius)


def _close(mask: Mask, radius: int) -> Mask:
    """Fill gaps narrower than a square of 2 × `radius` + 1 pixels."""
    return ~_open(~mask, radius)


def _erode(mask: Mask, radius: int) -> Mask:
    """True where a whole square of 2 × `radius` + 1 pixels is, as far as it lies in the picture.

    Windows are doubled, which on booleans is ten times as fast as a minimum filter.
    """
    for _ in range(2):
        mask = np.pad(mask, ((radius, radius), (0, 0)), mode="edge")
        span = 1
        while span < 2 * radius + 1:
            step = min(span, 2 * radius + 1 - span)
            mask = mask[:-step] & mask[step:]
            span += step
        mask = mask.T
    return mask


def _threshold(saturation: NDArray[np.uint8]) -> float:
    """Otsu's threshold within `SATURATION`; the lower bound where there is nothing to split."""
    counts = np.bincount(saturation, minlength=256)
    if np.count_nonzero(counts) < 2:
        return 255 * SATURATION[0]
    otsu: float = threshold_otsu(hist=counts)  # type: ignore[no-untyped-call]
    return float(np.clip(otsu, 255 * SATURATION[0], 255 * SATURATION[1]))


def overview_downsample(dimensions: tuple[int, int], *, level0_mpp: float) -> float:
    """How far to reduce a slide of (width, height) level-0 pixels for `find_tissue`."""
    return min(OVERVIEW_MPP / level0_mpp, max(dimensions) / SMALL_SLIDE_PX)


def load_mask(path: Path, *, dimensions: tuple[int, int]) -> Tissue:
    """Read a tissue mask drawn elsewhere: an image over the whole slide, non-zero is tissue.

    What is wholly transparent is not tissue, whatever its colour, nor is what is no number. Of a
    picture with a palette the numbers count, not their colours. JPEG leaves no zero beside what is
    painted, so there the threshold is half the maximum.

    Parameters
    ----------
    path
        Any image Pillow opens.
    dimensions
        (width, height) of the slide's level 0, which the mask must match in shape.

    Raises
    ------
    MaskError
        If the file is missing, is no image, or has another aspect ratio than the slide.
    """
    try:
        with Image.open(path) as image:
            # Not to grey: that rounds blue, and floats below one, to nothing.
            pixels = np.asarray(image.convert("RGB") if len(image.getbands()) > 1 else image)
            values = np.nan_to_num(pixels if pixels.ndim == 2 else pixels.max(axis=2))
            mask = values > values.max() / 2 if image.format == "JPEG" else values != 0
            if image.has_transparency_data and image.mode != "I;16":  # which Pillow clips
                # Drawing programs leave white, or anything, below what is not painted.
                mask &= np.asarray(image.convert("RGBA").getchannel("A")) > 0
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        # Pillow calls a broken chunk of a PNG a syntax error.
        raise MaskError(f"tissue mask {path}: {error}") from error
    height, width = mask.shape
    downsample = dimensions[0] / width
    if abs(dimensions[1] / downsample - height) > 1:
        raise MaskError(
            f"tissue mask {path.name} is {width}x{height} px and the slide {dimensions[0]}x"
            f"{dimensions[1]}: their shapes differ, export the mask over the whole slide"
        )
    return Tissue(mask=mask, downsample=downsample)


def _is_dark(pixels: Pixels) -> bool:
    """Whether an (H, W, 3) picture has a black background, as fluorescence does."""
    counts = np.array(Image.fromarray(pixels).convert("L").histogram())
    median, bright = np.searchsorted(counts.cumsum() / counts.sum(), [0.5, 0.9]) / 255
    return bool(median < DARK[0] and bright < DARK[1])


def _saturation(pixels: Pixels, *, sigma_px: float) -> NDArray[np.uint8]:
    """Saturation of an (H, W, 3) picture averaged over a Gaussian, (H, W) in 0-255."""
    saturation = Image.fromarray(pixels).convert("HSV").getchannel("S")
    return np.asarray(saturation.filter(ImageFilter.GaussianBlur(sigma_px)))
