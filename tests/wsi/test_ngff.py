"""Where a pixel of an array is on the slide, in micrometres."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsi.ngff import multiscales, pixel_of, placement


@pytest.mark.parametrize(
    ("downsample", "level0_mpp", "axes", "scale", "translation"),
    [
        (1, 0.5, "yx", [0.5, 0.5], [0.0, 0.0]),
        (2, 0.5, "yx", [1.0, 1.0], [0.25, 0.25]),
        (4, 0.25, "cyx", [1.0, 1.0, 1.0], [0.0, 0.375, 0.375]),
        (100, 1.0, "cyx", [1.0, 100.0, 100.0], [0.0, 49.5, 49.5]),
    ],
)
def test_placement_by_hand(
    downsample: float, level0_mpp: float, axes: str, scale: list[float], translation: list[float]
) -> None:
    assert placement(downsample=downsample, level0_mpp=level0_mpp, axes=axes) == [
        {"type": "scale", "scale": scale},
        {"type": "translation", "translation": translation},
    ]


@given(downsample=st.floats(1, 4096), level0_mpp=st.floats(0.05, 20), index=st.integers(0, 999))
def test_a_pixel_has_its_centre_amid_the_pixels_it_covers(
    downsample: float, level0_mpp: float, index: int
) -> None:
    scale, translation = placement(downsample=downsample, level0_mpp=level0_mpp, axes="cyx")
    centre_um = index * scale["scale"][2] + translation["translation"][2]
    first, last = index * downsample, (index + 1) * downsample - 1  # level-0 pixels it covers
    assert centre_um == pytest.approx((first + last) / 2 * level0_mpp, rel=1e-9, abs=1e-9)


@given(
    downsample=st.floats(1, 4096),
    level0_mpp=st.floats(0.05, 20),
    axes=st.sampled_from(["yx", "cyx"]),
)
def test_a_placement_can_be_read_back(downsample: float, level0_mpp: float, axes: str) -> None:
    transforms = placement(downsample=downsample, level0_mpp=level0_mpp, axes=axes)
    read, centre = pixel_of(transforms, level0_mpp=level0_mpp)
    assert read == pytest.approx(downsample)
    assert centre == pytest.approx((downsample - 1) / 2)


def test_an_image_of_others_may_lack_a_translation() -> None:
    assert pixel_of([{"type": "scale", "scale": [2.0, 2.0]}], level0_mpp=0.5) == (4.0, 0.0)


def test_levels_are_numbered_from_the_finest() -> None:
    said = multiscales(name="n", axes="cyx", downsamples=[1, 2, 4], level0_mpp=0.5)
    (image,) = said["multiscales"]
    assert said["version"] == "0.5"
    assert [axis["name"] for axis in image["axes"]] == ["c", "y", "x"]
    assert [axis.get("unit") for axis in image["axes"]] == [None, "micrometer", "micrometer"]
    assert [level["path"] for level in image["datasets"]] == ["0", "1", "2"]
    for level, downsample in zip(image["datasets"], (1, 2, 4), strict=True):
        assert pixel_of(level["coordinateTransformations"], level0_mpp=0.5)[0] == downsample
