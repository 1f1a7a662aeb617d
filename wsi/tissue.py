"""Where the tissue is: Otsu on saturation, and a flag for what it cannot judge."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from skimage.filters import threshold_otsu
from skimage.morphology import remove_small_holes, remove_small_objects

from wsi.errors import MaskError
from wsi.overview import Overview
from wsi.slide import Pixels

Mask = NDArray[np.bool_]

OVERVIEW_MPP = 8.0  # µm per pixel the mask is made at: a cell or two, and 4 MP for a large slide
SMALL_SLIDE_PX = 512  # a slide is not reduced below this length, so that a single core is seen
SMOOTH_UM = 8.0  # saturation is averaged, and gaps are closed, over about a cell
SATURATION = (0.04, 0.20)  # Otsu's threshold is kept in here: paler is glass, more is tissue
DARK = (0.25, 0.5)  # luminance: if the median and nine tenths are darker, no light came through
SMALLEST_UM = 30.0  # edge of the smallest piece of tissue, or hole in it, that counts
PEN_SHARE = 0.001  # share of the slide covered by ink from which the slide is called marked


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
    full of tissue is not split in two), ink is removed by its hue, and pieces and holes smaller
    than `SMALLEST_UM` are dropped.
    """
    pixel_um = overview.downsample * level0_mpp
    hue, saturation, value = _hsv(overview.pixels)
    if _is_dark(overview.pixels):
        empty = np.zeros(value.shape, np.bool_)
        return Tissue(mask=empty, downsample=overview.downsample, flags=("fluorescence",))
    ink = _ink(hue, saturation, value)
    smooth = ndimage.gaussian_filter(saturation, sigma=SMOOTH_UM / pixel_um)
    threshold = _threshold(smooth[~ink])
    smallest_px = max(1, round((SMALLEST_UM / pixel_um) ** 2))
    radius = max(1, round(SMOOTH_UM / pixel_um))
    mask = _close(_open((smooth > threshold) & ~ink, radius), 2 * radius) & ~ink
    mask = remove_small_objects(mask, max_size=smallest_px)
    mask = remove_small_holes(mask, max_size=smallest_px) & ~ink
    if overview.unreadable is not None:
        # Nobody knows what is there; it counts as what is next to it, so that tiles on it are
        # tried and reported rather than passed over.
        _, nearest = ndimage.distance_transform_edt(overview.unreadable, return_indices=True)
        mask = mask[tuple(nearest)]
    flags = []
    if ink.mean() > PEN_SHARE:
        flags.append("pen_marks")
    if not mask.any():
        flags.append("blank")
    return Tissue(mask=mask, downsample=overview.downsample, flags=tuple(flags))


def _open(mask: Mask, radius: int) -> Mask:
    """Remove what is narrower than a square of 2 × `radius` + 1 pixels; the edge counts as more."""
    eroded = ndimage.minimum_filter(mask.astype(np.uint8), 2 * radius + 1, mode="nearest")
    return np.asarray(ndimage.maximum_filter(eroded, 2 * radius + 1, mode="nearest") > 0)


def _close(mask: Mask, radius: int) -> Mask:
    """Fill gaps narrower than a square of 2 × `radius` + 1 pixels."""
    return ~_open(~mask, radius)


def _threshold(saturation: NDArray[np.float32]) -> float:
    """Otsu's threshold within `SATURATION`; everything is below it when there is no pixel."""
    if saturation.size == 0:
        return 1.0
    # In double precision, because nearly equal values leave no room for bins in single.
    otsu: float = threshold_otsu(saturation.astype(np.float64))  # type: ignore[no-untyped-call]
    return float(np.clip(otsu, *SATURATION))


def overview_downsample(dimensions: tuple[int, int], *, level0_mpp: float) -> float:
    """How far to reduce a slide of (width, height) level-0 pixels for `find_tissue`."""
    return min(OVERVIEW_MPP / level0_mpp, max(dimensions) / SMALL_SLIDE_PX)


def load_mask(path: Path, *, dimensions: tuple[int, int]) -> Tissue:
    """Read a tissue mask drawn elsewhere: an image over the whole slide, non-zero is tissue.

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
            coloured = image.mode == "P" or len(image.getbands()) > 1
            pixels = np.asarray(image.convert("RGB") if coloured else image)
    except (OSError, Image.DecompressionBombError) as error:
        raise MaskError(f"tissue mask {path}: {error}") from error
    mask = np.asarray(pixels.any(axis=2) if coloured else pixels != 0)
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
    luminance = np.asarray(Image.fromarray(pixels).convert("L")) / 255
    median, bright = np.quantile(luminance, [0.5, 0.9])
    return bool(median < DARK[0] and bright < DARK[1])


def _hsv(pixels: Pixels) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Hue, saturation and value, each (H, W) in 0-1."""
    hsv = np.asarray(Image.fromarray(pixels).convert("HSV"), dtype=np.float32) / np.float32(255)
    return hsv[..., 0], hsv[..., 1], hsv[..., 2]


def _ink(
    hue: NDArray[np.float32], saturation: NDArray[np.float32], value: NDArray[np.float32]
) -> Mask:
    """Felt-tip ink: hues that haematoxylin, eosin and DAB do not have, and near-black.

    Lone pixels are dropped and the rim of what remains is taken too, since ink fades outward.
    """
    green = (hue > 0.18) & (hue < 0.50) & (saturation > 0.12)
    blue = (hue >= 0.50) & (hue < 0.66) & (saturation > 0.30)
    red = ((hue > 0.97) | (hue < 0.03)) & (saturation > 0.65) & (value > 0.5)
    black = (value < 0.25) & (saturation < 0.4)
    core = ndimage.binary_opening(green | blue | red | black, iterations=1)
    return np.asarray(ndimage.binary_dilation(core, iterations=2) if core.any() else core)
