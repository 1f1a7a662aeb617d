"""Tiles are found where they can be used as they are, and nowhere else."""

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import openslide
import pytest
import tifffile

from wsi.jpeg.find import find_tiles
from wsi.open import open_slide
from wsi.readers.openslide_reader import OpenSlideReader
from wsi.testing import Specimen, render, write_slide

PIXELS = render(
    Specimen(seed=3, width=4000, height=4000), x=1600, y=1600, width=900, height=600
).rgb
JPEG: dict[str, Any] = {"tile": (128, 128), "photometric": "rgb", "compression": "jpeg"}


@pytest.mark.parametrize("subsampling", [(1, 1), (2, 1), (2, 2)])
def test_an_ome_tiff_with_its_levels_in_sub_directories(
    tmp_path: Path, subsampling: tuple[int, int], array_slide: Callable[..., Any]
) -> None:
    path = tmp_path / "image.ome.tif"
    with tifffile.TiffWriter(path, ome=True) as tiff:
        tiff.write(PIXELS, subifds=1, subsampling=subsampling, **JPEG)
        tiff.write(PIXELS[::2, ::2], subfiletype=1, subsampling=subsampling, **JPEG)
    with open_slide(path) as slide:
        assert slide.reader == "jpeg"
        for level, (width, height) in enumerate(slide.level_dimensions):
            with tifffile.TiffFile(path) as tiff:
                expected = tiff.series[0].levels[level].asarray()
            np.testing.assert_array_equal(
                slide.read_region((0, 0), level, (width, height)), expected
            )
        assert slide.level_dimensions == ((900, 600), (450, 300))
    pyramid = array_slide(PIXELS)
    pyramid.level_dimensions = ((900, 600), (450, 300))
    found = find_tiles(path, pyramid)
    assert found is not None
    assert [level.dimensions for level in found.levels] == [(900, 600), (450, 300)]


def test_tiles_found_once_are_not_looked_for_again(synthetic: Any) -> None:
    with open_slide(synthetic.path) as slide:
        assert find_tiles(Path("no such file"), slide) is find_tiles(synthetic.path, slide)


@pytest.mark.parametrize(
    "options",
    [
        {**JPEG, "tile": (128, 256)},
        {**JPEG, "compression": "jpeg2000"},
        {**JPEG, "compression": "zlib"},
        {**JPEG, "compression": "jpeg", "tile": None},
        {
            "tile": (128, 128),
            "photometric": "rgb",
            "planarconfig": "separate",
            "compression": "jpeg",
        },
        {"tile": (128, 128), "photometric": "minisblack", "compression": "jpeg"},
    ],
    ids=["oblong", "jpeg 2000", "deflate", "strips", "planar", "grey"],
)
def test_other_tiles_are_left_to_the_readers(
    tmp_path: Path, options: dict[str, Any], array_slide: Callable[..., Any]
) -> None:
    path = tmp_path / "other.tif"
    pixels: Any = PIXELS
    if "planarconfig" in options:
        pixels = np.ascontiguousarray(PIXELS.transpose(2, 0, 1))
    if options["photometric"] == "minisblack":
        pixels = PIXELS[..., 0]
    tifffile.imwrite(path, pixels, **{k: v for k, v in options.items() if v is not None})
    assert find_tiles(path, array_slide(PIXELS)) is None


def test_tiles_smaller_than_the_directory_says_are_left_to_the_readers(
    tmp_path: Path, array_slide: Callable[..., Any]
) -> None:
    path = tmp_path / "wrong.tif"
    tifffile.imwrite(path, PIXELS, **JPEG)
    assert find_tiles(path, array_slide(PIXELS)) is not None
    with tifffile.TiffFile(path, mode="r+b") as tiff:
        for name in ("TileWidth", "TileLength"):
            tiff.pages.first.tags[name].overwrite(256)
    assert find_tiles(path, array_slide(PIXELS)) is None


@pytest.mark.parametrize("vendor", ["ventana", "trestle", "leica"])
def test_vendors_whose_tiles_are_no_plain_grid_are_left_to_openslide(
    tmp_path: Path, array_slide: Callable[..., Any], vendor: str
) -> None:
    path = tmp_path / "plain.tif"
    tifffile.imwrite(path, PIXELS, **JPEG)
    slide = array_slide(PIXELS)
    assert find_tiles(path, slide) is not None
    slide.vendor = vendor
    assert find_tiles(path, slide) is None


def test_what_openslide_shows_for_tiles_that_a_coarser_level_lacks_is_kept(tmp_path: Path) -> None:
    """For Aperio's it is the finer level, not white."""
    path = write_slide(tmp_path / "slide.svs", Specimen(seed=5, width=1500, height=1300))
    with tifffile.TiffFile(path, mode="r+b") as tiff:
        page = next(page for page in tiff.pages if page.is_tiled and page.imagewidth == 375)
        counts = list(page.databytecounts)
        counts[1] = 0
        page.tags["TileByteCounts"].overwrite(counts)
    with open_slide(path) as slide, openslide.OpenSlide(path) as own:
        shown = np.asarray(own.read_region((1024, 0), 1, (100, 200)).convert("RGB"))
        assert shown.min() < 255
        np.testing.assert_array_equal(slide.read_region((1024, 0), 1, (100, 200)), shown)


def test_a_damaged_first_tile_does_not_hide_the_others(
    synthetic: Any, damage_tile: Callable[[Path, int], Path]
) -> None:
    damaged = damage_tile(synthetic.path, 0)
    with open_slide(damaged) as slide, OpenSlideReader(synthetic.path) as intact:
        assert slide.reader == "jpeg"
        np.testing.assert_array_equal(
            slide.read_region((256, 0), 0, (500, 500)), intact.read_region((256, 0), 0, (500, 500))
        )


def test_a_level_that_lacks_the_places_of_tiles_is_not_used(tmp_path: Path) -> None:
    """As in a damaged directory that claims to be wider than its list of tiles."""
    path = tmp_path / "wide.tif"
    tifffile.imwrite(path, PIXELS, **JPEG)
    with tifffile.TiffFile(path) as tiff:
        width = tiff.pages.first.tags["ImageWidth"]
    content = bytearray(path.read_bytes())
    struct.pack_into("<H", content, width.valueoffset, 4 * PIXELS.shape[1])
    path.write_bytes(content)
    with open_slide(path) as slide:
        assert slide.level_dimensions == ((4 * PIXELS.shape[1], PIXELS.shape[0]),)
        assert slide.reader == "openslide"
