"""Images and labels brought to another resolution."""

from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from wsi.slide import Pixels

SAME_MPP = 0.1  # relative difference within which images are not resampled: nuclei vary more

Label = TypeVar("Label", bound=np.integer[Any])


def at_mpp(pixels: Pixels, *, mpp: float | None, wanted: float) -> Pixels:
    """Resample an (H, W, 3) image to another resolution, unless the two are nearly the same."""
    if mpp is None or abs(mpp / wanted - 1) <= SAME_MPP:
        return pixels
    return resample(pixels, mpp / wanted)


def resample(pixels: Pixels, factor: float) -> Pixels:
    """Resize (H, W, 3) pixels by `factor`; antialiased when it gets smaller."""
    height, width = (max(1, round(edge * factor)) for edge in pixels.shape[:2])
    if (height, width) == pixels.shape[:2]:
        return pixels
    return np.array(Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC))


def resize_labels(labels: NDArray[Label], shape: tuple[int, int]) -> NDArray[Label]:
    """Bring (H, W) labels to another shape by taking the nearest: numbers do not mix."""
    rows, columns = (_nearest(old, new) for old, new in zip(labels.shape, shape, strict=True))
    return labels if labels.shape == shape else labels[np.ix_(rows, columns)]


def _nearest(old: int, new: int) -> NDArray[np.int64]:
    return ((np.arange(new) + 0.5) * old / new).astype(np.int64)
