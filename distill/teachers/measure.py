"""Numbers of each nucleus: where it is, how large, how round, how dark."""

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray
from skimage.measure import regionprops

from distill.teachers.labelled import Instances
from wsi.slide import Pixels
from wsi.stain import DENSITY, HED

# The amounts of two stains from the density of red, green and blue.
HAEMATOXYLIN, EOSIN = np.linalg.inv(HED).T[:2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measures:
    """Numbers of N nuclei, (N,) float64 each.

    Attributes
    ----------
    area_um2, perimeter_um
        The perimeter is that of the line through the centres of border pixels.
    major_axis_um, minor_axis_um, eccentricity
        Of the ellipse with the nucleus's second moments; 0 is a circle, 1 a line.
    haematoxylin_od, eosin_od
        Mean amounts of the two stains, as optical density along their standard vectors (Ruifrok &
        Johnston 2001); natural logarithm.
    mean_od, spread_od
        Mean and standard deviation over the nucleus of the optical density of red, green and blue
        together; natural logarithm. Clumped chromatin spreads it.
    """

    area_um2: NDArray[np.float64]
    perimeter_um: NDArray[np.float64]
    major_axis_um: NDArray[np.float64]
    minor_axis_um: NDArray[np.float64]
    eccentricity: NDArray[np.float64]
    haematoxylin_od: NDArray[np.float64]
    eosin_od: NDArray[np.float64]
    mean_od: NDArray[np.float64]
    spread_od: NDArray[np.float64]


MEASURES = tuple(field.name for field in fields(Measures))


def measure(nuclei: Instances, pixels: Pixels, *, mpp: float) -> Measures:
    """Measure the nuclei of (H, W) labels over (H, W, 3) pixels by rising label.

    `mpp` is µm per pixel.
    """
    regions = regionprops(nuclei)  # type: ignore[no-untyped-call]
    stained = np.nonzero(nuclei)
    density = DENSITY[pixels[stained]]
    darkness = density.mean(axis=1).astype(np.float64)
    labels = nuclei[stained]
    present = np.array([region.label for region in regions], np.int64)
    counts = np.maximum(np.bincount(labels), 1)

    def mean(values: NDArray[np.floating]) -> NDArray[np.float64]:
        return np.asarray((np.bincount(labels, values) / counts)[present], np.float64)

    def each(name: str, unit: float) -> NDArray[np.float64]:
        return np.array([getattr(region, name) * unit for region in regions], np.float64)

    mean_od = mean(darkness)
    return Measures(
        area_um2=each("area", mpp**2),
        perimeter_um=each("perimeter", mpp),
        major_axis_um=each("axis_major_length", mpp),
        minor_axis_um=each("axis_minor_length", mpp),
        eccentricity=each("eccentricity", 1),
        haematoxylin_od=mean(density @ HAEMATOXYLIN),
        eosin_od=mean(density @ EOSIN),
        mean_od=mean_od,
        spread_od=np.sqrt(np.maximum(mean(darkness**2) - mean_od**2, 0)),
    )
