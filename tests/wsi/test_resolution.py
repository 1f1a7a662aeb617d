"""How large a pixel is decides what a model sees, so nothing is guessed in silence."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from wsi.errors import MissingResolutionError, ResolutionError
from wsi.open import open_slide
from wsi.resolution import MppSource, resolve_mpp

SCANNER = {"openslide.mpp-x": "0.25", "openslide.mpp-y": "0.25"}
TAGS = {
    "tiff.XResolution": "20000",
    "tiff.YResolution": "20000",
    "tiff.ResolutionUnit": "centimeter",
}
OBJECTIVE = {"openslide.objective-power": "20"}


@pytest.mark.parametrize(
    ("properties", "given", "mpp", "source"),
    [
        (SCANNER | TAGS | OBJECTIVE, {"given": 0.3}, 0.3, MppSource.FLAG),
        (
            SCANNER | TAGS,
            {"given": 0.3, "given_by": MppSource.MANIFEST},
            0.3,
            MppSource.MANIFEST,
        ),
        (SCANNER | TAGS | {"openslide.vendor": "leica"}, {}, 0.25, MppSource.VENDOR),
        (SCANNER | {"openslide.vendor": "aperio"}, {}, 0.25, MppSource.VENDOR),
        (SCANNER | {"openslide.vendor": "dicom"}, {}, 0.25, MppSource.DICOM),
        (SCANNER | {"openslide.vendor": "generic-tiff"}, {}, 0.25, MppSource.TIFF),
        (SCANNER | TAGS | {"openslide.vendor": "ome-tiff"}, {}, 0.25, MppSource.OME),
        (TAGS | OBJECTIVE, {}, 0.5, MppSource.TIFF),
        (TAGS | {"tiff.ResolutionUnit": "inch"}, {}, 1.27, MppSource.TIFF),
        (TAGS | {"tiff.ResolutionUnit": "CENTIMETER"}, {}, 0.5, MppSource.TIFF),
        (OBJECTIVE, {}, 0.5, MppSource.OBJECTIVE),
        ({"openslide.objective-power": "40"}, {}, 0.25, MppSource.OBJECTIVE),
    ],
)
def test_the_most_trusted_source_wins_and_is_named(
    properties: dict[str, str], given: dict[str, Any], mpp: float, source: MppSource
) -> None:
    resolution = resolve_mpp(properties, **given)
    assert resolution.mpp == pytest.approx(mpp, rel=1e-12)
    assert resolution.source is source
    assert resolution.warnings == ()


def test_the_mean_of_nearly_equal_axes_is_taken() -> None:
    resolution = resolve_mpp({"openslide.mpp-x": "0.250", "openslide.mpp-y": "0.252"})
    assert resolution.mpp == pytest.approx(0.251)


@pytest.mark.parametrize(
    "properties",
    [
        {},
        {"openslide.mpp-x": "0.25"},
        {"openslide.mpp-x": "unknown", "openslide.mpp-y": "unknown"},
        {"openslide.mpp-x": "0", "openslide.mpp-y": "0"},
        {"openslide.mpp-x": "nan", "openslide.mpp-y": "inf"},
        TAGS | {"tiff.ResolutionUnit": "none"},
        {"openslide.objective-power": "0"},
    ],
)
def test_no_resolution_is_an_error_that_says_how_to_give_one(properties: dict[str, str]) -> None:
    with pytest.raises(MissingResolutionError, match=r"--mpp.*manifest's mpp column"):
        resolve_mpp(properties)


DPI_72 = {"tiff.XResolution": "72", "tiff.YResolution": "72", "tiff.ResolutionUnit": "inch"}


def test_a_screens_resolution_is_passed_over() -> None:
    resolution = resolve_mpp(DPI_72 | OBJECTIVE)
    assert (resolution.mpp, resolution.source) == (0.5, MppSource.OBJECTIVE)
    assert len(resolution.warnings) == 1
    assert "352.778" in resolution.warnings[0]
    with pytest.raises(MissingResolutionError, match=r"352\.778 µm per pixel.*--mpp"):
        resolve_mpp(DPI_72)


@pytest.mark.parametrize("reader", ["openslide", "tiffslide"])
@pytest.mark.parametrize(("unit", "dots"), [(2, (72, 72)), (3, (28.3464, 28.3464))])
def test_a_real_tiff_of_72_dpi_is_passed_over_once(
    tmp_path: Path, reader: str, unit: int, dots: tuple[float, float]
) -> None:
    """OpenSlide tells the tags of a generic TIFF under two names, and so does tiffslide."""
    path = tmp_path / "screen.tif"
    image = np.zeros((300, 300, 3), np.uint8)
    options = {"tile": (256, 256)} if reader == "openslide" else {}
    tifffile.imwrite(path, image, resolution=dots, resolutionunit=unit, **options)
    with open_slide(path) as slide:
        assert slide.reader == reader
        assert "openslide.mpp-x" in slide.properties
        assert "tiff.XResolution" in slide.properties
        with pytest.raises(MissingResolutionError) as caught:
            resolve_mpp(slide.properties)
    assert str(caught.value).count("352.77") == 1


def test_a_real_tiff_without_tiles_says_who_gives_its_resolution(tmp_path: Path) -> None:
    path = tmp_path / "plain.tif"
    image = np.zeros((300, 300, 3), np.uint8)
    tifffile.imwrite(path, image, resolution=(20000, 20000), resolutionunit=3)
    with open_slide(path) as slide:
        assert slide.reader == "tiffslide"
        resolution = resolve_mpp(slide.properties)
    assert (resolution.mpp, resolution.source) == (pytest.approx(0.5), MppSource.TIFF)


@pytest.mark.parametrize("mpp", [0.0499, 20.01, -0.5, 0.0, float("nan"), float("inf")])
def test_an_implausible_value_from_the_caller_is_an_error(mpp: float) -> None:
    with pytest.raises(ResolutionError, match=r"^flag: .*0\.05-20.*--mpp.*manifest's mpp column"):
        resolve_mpp(SCANNER, given=mpp)


@pytest.mark.parametrize("mpp", ["0.01", "30"])
def test_an_implausible_scanner_is_an_error_even_beside_good_tags(mpp: str) -> None:
    bad = {"openslide.vendor": "leica", "openslide.mpp-x": mpp, "openslide.mpp-y": mpp}
    with pytest.raises(ResolutionError, match=r"^vendor property: .*--mpp.*mpp column"):
        resolve_mpp(bad | TAGS)
    assert resolve_mpp(bad, given=0.5).mpp == 0.5


def test_pixels_that_are_not_square_are_an_error() -> None:
    oblong = {"openslide.mpp-x": "0.25", "openslide.mpp-y": "0.26"}
    with pytest.raises(ResolutionError, match=r"0\.25 .* x but 0\.26 along y.*--mpp.*mpp column"):
        resolve_mpp(oblong)
    assert resolve_mpp(oblong, given=0.25).source is MppSource.FLAG


@pytest.mark.parametrize(
    ("mpp", "power", "outcome"),
    [
        ("0.25", "40", "agree"),
        ("0.5", "20", "agree"),
        ("0.37", "40", "agree"),
        ("0.4", "40", "warn"),
        ("0.25", "20", "warn"),
        ("0.74", "40", "warn"),
        ("1.0", "40", "fail"),
        ("0.25", "10", "fail"),
    ],
)
def test_mpp_is_held_against_the_objective(mpp: str, power: str, outcome: str) -> None:
    properties = {
        "openslide.mpp-x": mpp,
        "openslide.mpp-y": mpp,
        "openslide.objective-power": power,
    }
    if outcome == "fail":
        with pytest.raises(ResolutionError, match=r"disagree by a factor of 4\.0.*--mpp.*column"):
            resolve_mpp(properties)
        return
    warnings = resolve_mpp(properties).warnings
    assert len(warnings) == (outcome == "warn")
    assert all("disagree" in warning for warning in warnings)


def test_real_slides_say_their_resolution(shared_data: Path) -> None:
    slides = shared_data / "slides"
    with open_slide(slides / "CMU-1-Small-Region.svs") as slide:
        resolution = resolve_mpp(slide.properties)
    assert (resolution.mpp, resolution.source) == (0.499, MppSource.VENDOR)
    with (
        open_slide(slides / "multi_frame_jpeg_camelyon_challenge_image.dcm") as slide,
        pytest.raises(ResolutionError, match=r"DICOM pixel spacing: 28\.9685"),
    ):
        resolve_mpp(slide.properties)
    with open_slide(slides / "kidney-48-5.tif") as slide, pytest.raises(MissingResolutionError):
        resolve_mpp(slide.properties)


@pytest.mark.parametrize(("given", "doubted"), [(0.499, False), (0.7, False), (0.1, True)])
def test_what_is_given_is_used_and_doubted_where_the_file_says_otherwise(
    given: float, doubted: bool
) -> None:
    resolution = resolve_mpp({"openslide.mpp-x": "0.499", "openslide.mpp-y": "0.499"}, given=given)
    assert resolution.mpp == given
    said = ("flag gave 0.1 µm per pixel, but vendor property 0.499",)
    assert resolution.warnings == (said if doubted else ())
