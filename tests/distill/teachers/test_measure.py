"""Numbers of nuclei, on shapes and stains that can be reckoned by hand."""

import numpy as np
import pytest

from distill.teachers.measure import measure
from wsi.stain import HED


def stained(haematoxylin: float, eosin: float) -> np.ndarray:
    """A pixel with so much of the two stains."""
    density = np.array([haematoxylin, eosin]) @ HED[:2]
    return np.rint(256 * np.exp(-density) - 1)


def test_size_shape_and_stain() -> None:
    nuclei = np.zeros((40, 60), np.int32)
    nuclei[5:15, 5:35], nuclei[20:36, 40:56] = 7, 3
    pixels = np.full((40, 60, 3), 255, np.uint8)
    pixels[nuclei == 7], pixels[nuclei == 3] = stained(0.9, 0.2), stained(0.4, 0.5)
    found = measure(nuclei, pixels, mpp=0.5)
    assert found.area_um2 == pytest.approx([256 / 4, 300 / 4])  # by rising label
    assert found.major_axis_um[1] / found.minor_axis_um[1] == pytest.approx(3, rel=0.01)
    assert found.haematoxylin_od == pytest.approx([0.4, 0.9], abs=0.03)
    assert found.eosin_od == pytest.approx([0.5, 0.2], abs=0.03)
    assert found.spread_od == pytest.approx([0, 0], abs=1e-3)


def test_clumped_chromatin_spreads_the_density() -> None:
    nuclei = np.ones((8, 8), np.int32)
    pixels = np.full((8, 8, 3), 127, np.uint8)
    pixels[::2] = 63
    (spread,) = measure(nuclei, pixels, mpp=0.5).spread_od
    assert spread == pytest.approx(np.log(2) / 2, rel=1e-5)
