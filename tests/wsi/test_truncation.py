"""A file that ends early is refused, or says which regions it lost; it is never white there."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st

from wsi.errors import (
    SlideError,
    TruncatedSlideError,
    UnreadableRegionError,
    UnsupportedSlideError,
)
from wsi.open import open_slide
from wsi.slide import Pixels
from wsi.testing import Specimen, write_slide
from wsi.truncation import CLASSIC_BYTES, refuse_truncated

PIXELS = np.random.default_rng(0).integers(0, 200, (1100, 1300, 3), dtype=np.uint8)


def write_svs(path: Path) -> Path:
    return write_slide(path.with_suffix(".svs"), Specimen(seed=8, width=1500, height=1300))


def write_bigtiff(path: Path) -> Path:
    """Directories and lists first, then tiles: most cuts lose only tiles."""
    with tifffile.TiffWriter(path, bigtiff=True) as tiff:
        for step in (1, 2):
            tiff.write(
                PIXELS[::step, ::step],
                tile=(128, 128),
                photometric="rgb",
                compression="jpeg",
                subfiletype=int(step > 1),
            )
    return path


def write_big_endian(path: Path) -> Path:
    with tifffile.TiffWriter(path, byteorder=">") as tiff:
        tiff.write(PIXELS, tile=(256, 256), photometric="rgb", compression="zlib")
        tiff.write(PIXELS[::4, ::4], tile=(256, 256), photometric="rgb", compression="zlib")
    return path


def write_ome(path: Path) -> Path:
    path = path.with_suffix(".ome.tif")
    options: dict[str, Any] = {"tile": (256, 256), "photometric": "rgb", "compression": "jpeg"}
    with tifffile.TiffWriter(path, ome=True) as tiff:
        tiff.write(PIXELS, subifds=1, **options)
        tiff.write(PIXELS[::2, ::2], subfiletype=1, **options)
    return path


@pytest.fixture(
    scope="module",
    params=[write_svs, write_bigtiff, write_big_endian, write_ome],
    ids=lambda write: write.__name__,
)
def whole(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path: Path = request.param(tmp_path_factory.mktemp("whole") / "whole.tif")
    return path


def everything(path: Path) -> list[Pixels]:
    with open_slide(path) as slide:
        return [
            slide.read_region((0, 0), level, size)
            for level, size in enumerate(slide.level_dimensions)
        ]


@given(share=st.floats(0, 1, exclude_max=True))
def test_a_cut_slide_is_refused_or_raises_where_it_was_cut(
    whole: Path, tmp_path_factory: pytest.TempPathFactory, share: float
) -> None:
    content = whole.read_bytes()
    cut = tmp_path_factory.mktemp("cut") / whole.name
    cut.write_bytes(content[: int(len(content) * share)])
    try:
        slide = open_slide(cut)
    except (TruncatedSlideError, UnsupportedSlideError):
        return
    expected = everything(whole)
    with slide:
        assert len(slide.level_dimensions) == len(expected)
        for level, pixels in enumerate(expected):
            downsample = round(slide.level_downsamples[level])
            for y in range(0, pixels.shape[0] - 256, 256):
                for x in range(0, pixels.shape[1] - 256, 256):
                    try:
                        region = slide.read_region(
                            (x * downsample, y * downsample), level, (256, 256)
                        )
                    except UnreadableRegionError:
                        continue
                    if downsample == slide.level_downsamples[level]:
                        np.testing.assert_array_equal(region, pixels[y : y + 256, x : x + 256])
                    else:
                        assert not (region == 255).all()


def test_a_whole_slide_passes(whole: Path) -> None:
    refuse_truncated(whole)


def test_the_message_says_where_the_file_ends(tmp_path: Path) -> None:
    path = write_svs(tmp_path / "slide.tif")
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    said = rf"slide\.svs: the file ends early, at {len(content) // 2:,} bytes.*copy or download"
    with pytest.raises(TruncatedSlideError, match=said):
        open_slide(path)


def test_tiles_beyond_the_end_are_unreadable_regions(tmp_path: Path) -> None:
    path = write_bigtiff(tmp_path / "slide.tif")
    with tifffile.TiffFile(path) as tiff:
        last = tiff.pages.get(1).dataoffsets[-1]
    with open_slide(path) as slide:
        expected = slide.read_region((0, 0), 1, (128, 128))
    path.write_bytes(path.read_bytes()[: last + 50])
    with open_slide(path) as slide:
        with pytest.raises(UnreadableRegionError, match="the file ends inside the tile"):
            slide.read_region((1290, 1090), 1, (2, 2))
        np.testing.assert_array_equal(slide.read_region((0, 0), 1, (128, 128)), expected)


@pytest.mark.parametrize(
    "content", [b"", b"II", b"II*\0\x08\0", b"not a slide" * 9, b"II+\0\x08\0\0\0"]
)
def test_what_is_too_short_to_be_a_tiff_is_for_the_readers(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "short.tif"
    path.write_bytes(content)
    if content.startswith(b"II+"):
        with pytest.raises(TruncatedSlideError, match="inside its header"):
            refuse_truncated(path)
    else:
        refuse_truncated(path)


def test_directories_that_lead_in_a_circle_end(tmp_path: Path) -> None:
    path = tmp_path / "circle.tif"
    path.write_bytes(b"II*\0\x08\0\0\0" + b"\0\0" + b"\x08\0\0\0")
    refuse_truncated(path)


@pytest.mark.parametrize("is_whole", [True, False])
def test_hamamatsus_links_over_4_gb_have_64_bits(tmp_path: Path, is_whole: bool) -> None:
    """Two empty directories, the second one over 4 GB into the file, as in a large NDPI."""
    path, second = tmp_path / "large.ndpi", CLASSIC_BYTES + 1000
    with path.open("wb") as file:  # sparse: it takes no space
        file.write(b"II*\0" + (16).to_bytes(8, "little") + bytes(4))
        file.write(b"\0\0" + second.to_bytes(8, "little"))
        if is_whole:
            file.seek(second)
            file.write(bytes(10))
        else:
            file.truncate(CLASSIC_BYTES + 500)
    if is_whole:
        refuse_truncated(path)
    else:
        with pytest.raises(TruncatedSlideError, match=f"{second:,}"):
            refuse_truncated(path)


@pytest.mark.parametrize(
    "name", ["CMU-1-Small-Region.svs", "test3-DAPI-2-(387).ndpi", "kidney-48-5.tif"]
)
def test_real_slides_are_whole_and_refused_when_cut(
    shared_data: Path, tmp_path: Path, name: str
) -> None:
    source = shared_data / "slides" / name
    refuse_truncated(source)
    content = source.read_bytes()
    for share in (0.1, 0.5, 0.99):
        cut = tmp_path / name
        cut.write_bytes(content[: int(len(content) * share)])
        with pytest.raises(SlideError) as caught:
            open_slide(cut)
        assert caught.value.kind in ("truncated", "unsupported")
