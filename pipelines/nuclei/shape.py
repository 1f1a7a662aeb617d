"""The shape of each nucleus, and where it lies."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from skimage.measure import regionprops

from distill.teachers.labelled import Instances


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A nucleus in the frame: its mask (H, W) bool from (`left`, `top`) on, and its centre.

    The centre of mass (`x`, `y`) counts from the edge of the first pixel, not from its centre.
    """

    left: int
    top: int
    mask: NDArray[np.bool_]
    x: float
    y: float


def shapes_of(nuclei: Instances, *, left: int, top: int) -> list[Shape]:
    """The nuclei of (H, W) labels by rising label; (`left`, `top`) is where the labels begin."""
    return [
        Shape(
            left=left + region.bbox[1],
            top=top + region.bbox[0],
            mask=np.asarray(region.image),
            x=left + region.centroid[1] + 0.5,
            y=top + region.centroid[0] + 0.5,
        )
        for region in regionprops(nuclei)  # type: ignore[no-untyped-call]
    ]
