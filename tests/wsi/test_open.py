"""Any file opens as a slide or is refused with a type and the readers' own words."""

import gc
import io
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from wsi.errors import (
    SlideNotFoundError,
    TruncatedSlideError,
    UnreadableRegionError,
    UnsupportedSlideError,
)
from wsi.open import SLIDE_SUFFIXES, open_slide
from wsi.ref import SlideRef

GREY = np.full((64, 80, 3), 120, np.uint8)


def tiff_bytes(image: np.ndarray[Any, Any], **options: Any) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, image, **options)
    return file.getvalue()


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    for missing in (tmp_path / "no.svs", tmp_path):
        with pytest.raises(SlideNotFoundError, match=f"no slide at {missing}"):
            open_slide(missing)


def test_paths_names_and_refs_open(locating_slide: Path) -> None:
    for name in (locating_slide, str(locating_slide), SlideRef.of(locating_slide)):
        with open_slide(name) as slide:
            assert slide.reader == "openslide"  # its tiles are no JPEG
            assert slide.dimensions == (2304, 1536)


@pytest.mark.parametrize("tile", [None, (32, 32)])
def test_plain_tiffs_open_with_their_pixels(tmp_path: Path, tile: tuple[int, int] | None) -> None:
    image = np.random.default_rng(0).integers(0, 256, (70, 90, 3), dtype=np.uint8)
    path = tmp_path / "plain.tif"
    tifffile.imwrite(path, image, photometric="rgb", tile=tile)
    with open_slide(path) as slide:
        assert slide.reader == ("openslide" if tile else "tiffslide")
        assert slide.level_dimensions == ((90, 70),)
        np.testing.assert_array_equal(slide.read_region((0, 0), 0, (90, 70)), image)


REFUSED = {
    "empty": b"",
    "text": b"not a slide\n" * 100,
    "png": b"\x89PNG\r\n\x1a\n" + bytes(100),
    "grey": tiff_bytes(GREY[..., 0]),
    "16 bit": tiff_bytes(GREY.astype(np.uint16), photometric="rgb"),
    "four channels": tiff_bytes(
        np.zeros((64, 80, 4), np.uint8), photometric="rgb", extrasamples=["unassalpha"]
    ),
    "planar": tiff_bytes(
        np.zeros((3, 64, 80), np.uint8), photometric="rgb", planarconfig="separate"
    ),
    "stack": tiff_bytes(np.stack([GREY] * 4), photometric="rgb"),
}


@pytest.mark.parametrize("content", REFUSED.values(), ids=REFUSED)
def test_what_no_reader_opens_is_refused_in_their_words(
    content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left_open: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda said: left_open.append(said.exc_value))
    path = tmp_path / "case.tif"
    path.write_bytes(content)
    with pytest.raises(UnsupportedSlideError, match=r"(?s)case\.tif.*OpenSlide: .*tiffslide: "):
        open_slide(path)
    gc.collect()
    assert not left_open


@pytest.mark.parametrize("case", REFUSED)
def test_a_file_that_is_no_slide_is_called_so_before_its_readers_speak(
    case: str, tmp_path: Path
) -> None:
    path = tmp_path / "case.svs"
    path.write_bytes(REFUSED[case])
    with pytest.raises(UnsupportedSlideError) as caught:
        open_slide(path)
    is_unknown = case in ("empty", "text", "png")
    assert ("case.svs: no slide format known here" in str(caught.value)) == is_unknown


def test_no_damage_to_a_header_ends_in_another_error(tmp_path: Path) -> None:
    intact = tiff_bytes(GREY, photometric="rgb", resolution=(20_000, 20_000))
    path = tmp_path / "fuzzed.tif"
    rng = np.random.default_rng(0)
    opened = 0
    for _ in range(200):
        content = np.frombuffer(intact, np.uint8).copy()
        content[rng.integers(0, 300, 3)] = rng.integers(0, 256, 3)
        path.write_bytes(content.tobytes())
        try:
            with open_slide(path) as slide:
                opened += 1
                assert slide.read_region((0, 0), 0, (9, 9)).shape == (9, 9, 3)
        except (TruncatedSlideError, UnsupportedSlideError, UnreadableRegionError):
            pass
    assert 0 < opened < 200


@pytest.mark.parametrize(
    ("name", "reader", "vendor", "dimensions", "levels"),
    [
        ("CMU-1-Small-Region.svs", "jpeg", "aperio", (2220, 2967), 1),
        ("test3-DAPI-2-(387).ndpi", "openslide", "hamamatsu", (3968, 4864), 7),
        (
            "multi_frame_jpeg_camelyon_challenge_image.dcm",
            "jpeg",
            "dicom",
            (1152, 700),
            1,
        ),
        ("kidney-48-5.tif", "tiffslide", "tiff", (1493, 901), 1),
    ],
)
def test_real_slides_open(
    shared_data: Path,
    name: str,
    reader: str,
    vendor: str,
    dimensions: tuple[int, int],
    levels: int,
) -> None:
    path = shared_data / "slides" / name
    assert path.suffix in SLIDE_SUFFIXES
    with open_slide(path) as slide:
        assert (slide.reader, slide.vendor) == (reader, vendor)
        assert (slide.dimensions, len(slide.level_dimensions)) == (dimensions, levels)
        assert slide.read_region((100, 100), 0, (64, 32)).shape == (32, 64, 3)


@pytest.mark.parametrize("name", ["broken.svs", "sm_image_grayscale.dcm"])
def test_real_files_that_are_no_slides_are_refused(shared_data: Path, name: str) -> None:
    with pytest.raises(UnsupportedSlideError, match=name):
        open_slide(shared_data / "slides" / name)
