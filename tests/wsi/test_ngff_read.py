"""Metadata of others: where each level lies on the slide, and what is no slide."""

from collections.abc import Mapping
from typing import Any

import pytest

from wsi.errors import UnsupportedSlideError
from wsi.ngff import multiscales
from wsi.ngff_read import read_multiscale


def axes(letters: str, unit: str | None = "micrometer") -> list[dict[str, str]]:
    kinds = {"t": "time", "c": "channel"}
    said = [{"name": a, "type": kinds.get(a, "space")} for a in letters]
    for axis in said:
        if unit is not None and axis["type"] == "space":
            axis["unit"] = unit
    return said


def scale(*values: float) -> dict[str, Any]:
    return {"type": "scale", "scale": list(values)}


def shift(*values: float) -> dict[str, Any]:
    return {"type": "translation", "translation": list(values)}


def image(
    letters: str = "cyx",
    levels: tuple[list[dict[str, Any]], ...] = ([scale(1, 0.5, 0.5)],),
    *,
    unit: str | None = "micrometer",
    **more: Any,
) -> dict[str, Any]:
    datasets = [
        {"path": str(n), "coordinateTransformations": transforms}
        for n, transforms in enumerate(levels)
    ]
    said = {"version": "0.4", "axes": axes(letters, unit), "datasets": datasets}
    return {"multiscales": [said | more]}


def test_what_we_write_is_read_back() -> None:
    ome = multiscales(name="n", axes="cyx", downsamples=[1, 4.0015, 16], level0_mpp=0.499)
    said = read_multiscale({"ome": ome})
    assert (said.version, said.axes, said.paths) == ("0.5", "cyx", ("0", "1", "2"))
    assert said.downsamples == pytest.approx((1, 4.0015, 16), rel=1e-12)
    assert said.downsamples[2] == 16
    assert said.corners == ((0, 0),) * 3
    assert said.mpp == pytest.approx((0.499, 0.499))


def test_an_image_of_0_4_without_translations() -> None:
    levels = ([scale(1, 1, 1, 0.25, 0.25)], [scale(1, 1, 1, 0.5, 0.5)], [scale(1, 1, 1, 1, 1)])
    said = read_multiscale(image("tczyx", levels))
    assert (said.version, said.axes, said.mpp) == ("0.4", "tczyx", (0.25, 0.25))
    assert said.downsamples == (1, 2, 4)
    assert said.corners == ((0, 0),) * 3


def test_channels_may_come_last_and_x_and_y_are_kept_apart() -> None:
    said = read_multiscale(image("yxc", ([scale(0.5, 0.501, 1)], [scale(2, 2.004, 1)])))
    assert said.mpp == (0.501, 0.5)
    assert said.downsamples == (1, 4)


@pytest.mark.parametrize(
    ("translation", "corner"),
    [
        ((0, 0.25, 0.25), (0, 0)),  # the centre of 2 x 2 pixels: both cover the same area
        ((0, 0, 0), (-0.5, -0.5)),  # the first pixel of both has the same centre
        ((0, 10.25, 5.25), (10, 20)),
    ],
)
def test_a_translation_says_where_a_level_begins(
    translation: tuple[float, ...], corner: tuple[float, float]
) -> None:
    levels = ([scale(1, 0.5, 0.5)], [scale(1, 1, 1), shift(*translation)])
    assert read_multiscale(image("cyx", levels)).corners == ((0, 0), corner)


def test_where_the_whole_image_lies_is_not_the_slides_concern() -> None:
    at = [shift(0, 100, 200)]
    levels = ([scale(1, 0.5, 0.5), *at], [scale(1, 1, 1), shift(0, 100.25, 200.25)])
    assert read_multiscale(image("cyx", levels)).corners == ((0, 0), (0, 0))


def test_transformations_are_applied_in_order_and_those_of_the_multiscale_last() -> None:
    levels = ([scale(1, 1, 1)], [shift(0, 0.5, 0.5), scale(1, 2, 2)])
    after = [{"type": "identity"}, scale(1, 0.5, 0.25)]
    said = read_multiscale(image("cyx", levels, coordinateTransformations=after))
    assert said.mpp == (0.25, 0.5)
    assert said.downsamples == (1, 2)
    assert said.corners[1] == (0.5, 0.5)  # (0.5 x 2) is the centre, half a pixel beyond 0.5


def test_a_translation_of_the_multiscale_moves_all_levels_alike() -> None:
    after = [shift(0, 100, 200)]
    levels = ([scale(1, 1, 1)], [scale(1, 2, 2)])
    said = read_multiscale(image("cyx", levels, coordinateTransformations=after))
    assert said.corners == ((0, 0), (0, 0))
    levels = ([scale(1, 1, 1)], [scale(1, 2, 2), shift(0, 0.5, 0.5)])
    said = read_multiscale(image("cyx", levels, coordinateTransformations=after))
    assert said.corners == ((0, 0), (0, 0))


@pytest.mark.parametrize(
    ("unit", "um"),
    [
        ("micrometer", 1),
        ("nanometer", 1e-3),
        ("millimeter", 1e3),
        ("meter", 1e6),
        ("µm", 1),
        ("μm", 1),
        ("inch", 25_400),
    ],
)
def test_units_become_micrometres(unit: str, um: float) -> None:
    assert read_multiscale(image(unit=unit)).mpp == pytest.approx((0.5 * um, 0.5 * um))


@pytest.mark.parametrize("unit", [None, "pixel", "parsec", ""])
def test_without_a_unit_of_length_the_resolution_is_unknown(unit: str | None) -> None:
    assert read_multiscale(image(unit=unit)).mpp is None


REFUSED: Mapping[str, tuple[Mapping[str, Any], str]] = {
    "no image": ({}, "no OME-Zarr image"),
    "ome is text": ({"ome": "0.5"}, "no OME-Zarr image"),
    "plate": ({"plate": {}}, "a plate"),
    "well": ({"ome": {"well": {}}}, "a well"),
    "label": (image() | {"image-label": {}}, "a label image"),
    "old": (image(version="0.2"), "OME-Zarr 0.2: 0.4 and 0.5"),
    "empty": ({"multiscales": []}, "malformed"),
    "no axes": ({"multiscales": [{"datasets": []}]}, "malformed"),
    "no levels": (image("cyx", ()), "malformed"),
    "axes of 0.3": (image(axes=["c", "y", "x"]), "malformed"),
    "an axis twice": (image("cxx"), "axes c, x, x"),
    "unknown axis": (image("qyx"), "axes q, y, x"),
    "no x": (image("cyz"), "axes c, y, z"),
    "too few numbers": (image("cyx", ([scale(1, 1)],)), "malformed"),
    "scale of nothing": (image("cyx", ([scale(1, 0, 1)],)), "malformed"),
    "scale is text": (image("cyx", ([{"type": "scale", "scale": "abc"}],)), "malformed"),
    "scale in a file": (image("cyx", ([{"type": "scale", "path": "s"}],)), "given as numbers"),
    "rotation": (image("cyx", ([{"type": "rotation", "rotation": []}],)), "rotation"),
}


@pytest.mark.parametrize(("attributes", "why"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_slide_is_refused_with_the_reason(
    attributes: Mapping[str, Any], why: str
) -> None:
    with pytest.raises(UnsupportedSlideError, match=why):
        read_multiscale(attributes)
