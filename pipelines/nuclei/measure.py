"""Numbers of each nucleus: where it is, how large, how round, how dark."""

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray
from skimage.measure import regionprops

from distill.teachers.labelled import Instances
from wsi.slide import Pixels
from wsi.stain import DENSITY, HED

HAEMATOXYLIN = np.linalg.inv(HED)[:, 0]  # its amount from the density of red, green and blue


@dataclass(frozen=True, slots=True, kw_only=True)
class Measures:
    """Numbers of N nuclei, (N,) float64 each.

    Attributes
    ----------
    area_um2, perimeter_um
        The perimeter is that of the line through the centres of border pixels.
    major_axis_um, minor_axis_um, eccentricity
        Of the ellipse with the nucleus's second moments; 0 is a circle, 1 a line.
    haematoxylin_od
        Mean amount of haematoxylin, as optical density along its standard vector (Ruifrok &
        Johnston 2001); natural logarithm.
    mean_od
        Mean optical density of red, green and blue together; natural logarithm.
    """

    area_um2: NDArray[np.float64]
    perimeter_um: NDArray[np.float64]
    major_axis_um: NDArray[np.float64]
    minor_axis_um: NDArray[np.float64]
    eccentricity: NDArray[np.float64]
    haematoxylin_od: NDArray[np.float64]
    mean_od: NDArray[np.float64]


MEASURES = tuple(field.name for field in fields(Measures))


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


def measure(nuclei: Instances, pixels: Pixels, *, mpp: float) -> Measures:
    """Measure the nuclei of (H, W) labels over (H, W, 3) pixels by rising label.

    `mpp` is µm per pixel.
    """
    regions = regionprops(nuclei)  # type: ignore[no-untyped-call]
    stained = np.nonzero(nuclei)
    density = DENSITY[pixels[stained]]
    labels = nuclei[stained]
    present = np.array([region.label for region in regions], np.int64)
    counts = np.maximum(np.bincount(labels), 1)

    def mean(values: NDArray[np.floating]) -> NDArray[np.float64]:
        return np.asarray((np.bincount(labels, values) / counts)[present], np.float64)

    def each(name: str, unit: float) -> NDArray[np.float64]:
        return np.array([getattr(region, name) * unit for region in regions], np.float64)

    return Measures(
        area_um2=each("area", mpp**2),
        perimeter_um=each("perimeter", mpp),
        major_axis_um=each("axis_major_length", mpp),
        minor_axis_um=each("axis_minor_length", mpp),
        eccentricity=each("eccentricity", 1),
        haematoxylin_od=mean(density @ HAEMATOXYLIN),
        mean_od=mean(density.mean(axis=1)),
    )
