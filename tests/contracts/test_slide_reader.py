"""The contract of a slide reader, run against every one of them."""

import gc
import math
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr
from numpy.typing import NDArray

from pipelines.conversion.driver import convert_slide
from wsi.errors import UnreadableRegionError
from wsi.jpeg.find import find_tiles
from wsi.jpeg.tiles import JpegTiles
from wsi.ngff import multiscales
from wsi.open import open_slide
from wsi.pyramid.options import PyramidOptions
from wsi.readers.jpeg_reader import JpegSlide
from wsi.readers.omezarr_reader import OmeZarrReader
from wsi.readers.openslide_reader import OpenSlideReader
from wsi.readers.tiffslide_reader import TiffSlideReader
from wsi.ref import SlideRef
from wsi.slide import Pixels, Slide
from wsi.testing import Specimen, write_slide

Opener = Callable[[Path], Slide]


class OpenJpeg(JpegSlide):
    """A slide's JPEG tiles over OpenSlide; without any, all levels are read from OpenSlide."""

    def __init__(self, path: Path) -> None:
        slide = OpenSlideReader(path)
        super().__init__(slide, find_tiles(path, slide) or JpegTiles(levels=()))


class AsPyramid:
    """Opens a slide from an OME-Zarr image of the same levels, made of it first.

    Chunks are of 256 pixels, as the tiles of the slides here, and hold junk where those do not
    decode.
    """

    reader = OmeZarrReader.reader

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, path: Path) -> Slide:
        target = self.folder / path.name
        if not target.exists():
            with TiffSlideReader(path) as slide:
                self.write(target, slide)
        return OmeZarrReader(target)

    def write(self, target: Path, slide: Slide) -> None:
        mpp = float(slide.properties.get("openslide.mpp-x", 1.0))
        said = multiscales(name="", axes="cyx", downsamples=slide.level_downsamples, level0_mpp=mpp)
        ours = {"vendor": slide.vendor, "level0_mpp": mpp, "mpp_source": "vendor property"}
        group = zarr.create_group(target, attributes={"ome": said, "raypath": ours})
        for n, (width, height) in enumerate(slide.level_dimensions):
            array = group.create_array(
                str(n), shape=(3, height, width), dtype="u1", chunks=(3, 256, 256), fill_value=255
            )
            for y in range(0, height, 256):
                for x in range(0, width, 256):
                    block = np.s_[:, y : y + 256, x : x + 256]
                    at = tuple(math.ceil(v * slide.level_downsamples[n]) for v in (x, y))
                    size = (min(256, width - x), min(256, height - y))
                    try:
                        array[block] = slide.read_region(at, n, size).transpose(2, 0, 1)
                    except UnreadableRegionError:
                        chunk = target / str(n) / "c" / "0" / str(y // 256) / str(x // 256)
                        chunk.parent.mkdir(parents=True, exist_ok=True)
                        chunk.write_bytes(b"junk")
        for name in slide.associated_images:
            pixels = slide.read_associated(name).transpose(2, 0, 1)
            group.create_array(f"associated/{name}", data=pixels)


@pytest.fixture(
    params=[OpenSlideReader, TiffSlideReader, OpenJpeg, AsPyramid], ids=lambda reader: reader.reader
)
def opener(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Opener:
    if request.param is AsPyramid:
        return AsPyramid(tmp_path_factory.mktemp("pyramids"))
    reader: Opener = request.param
    return reader


def ramp(x: int, y: int, width: int, height: int) -> NDArray[np.int64]:
    """What the locating slide shows at level 0, white outside of it; (H, W, 3)."""
    rows, columns = np.mgrid[y : y + height, x : x + width]
    shown = np.stack([columns * 256 // 2304, rows * 256 // 1536, np.full_like(rows, 128)], axis=-1)
    outside = (columns < 0) | (columns >= 2304) | (rows < 0) | (rows >= 1536)
    shown[outside] = 255
    return shown


def stored_level(path: Path, level: int) -> Pixels:
    """A level as tifffile decodes it; (H, W, 3)."""
    with tifffile.TiffFile(path) as tiff:
        return np.asarray(tiff.series[0].levels[level].asarray())


def test_it_describes_the_slide(opener: Opener, locating_slide: Path) -> None:
    with opener(locating_slide) as slide:
        assert slide.reader == opener.reader  # type: ignore[attr-defined]
        assert slide.vendor == "aperio"
        assert slide.dimensions == (2304, 1536)
        assert slide.level_dimensions == ((2304, 1536), (576, 384))
        assert slide.level_downsamples == (1.0, 4.0)
        assert float(slide.properties["openslide.mpp-x"]) == 0.5
        assert slide.properties["openslide.vendor"] == "aperio"
        assert {type(v) for pair in slide.properties.items() for v in pair} == {str}
        assert slide.associated_images == ("thumbnail",)


@pytest.mark.parametrize(
    ("location", "size"),
    [
        ((0, 0), (1, 1)),
        ((700, 300), (515, 257)),
        ((2304 - 60, 1536 - 40), (60, 40)),
        ((-50, -30), (200, 100)),
        ((2304 - 60, 1536 - 40), (200, 100)),
        ((-7, 1000), (2400, 9)),
        ((1000, -7), (9, 1600)),
        ((2304, 0), (20, 30)),
        ((-500, -500), (50, 60)),
        ((99_999, 99_999), (50, 60)),
    ],
)
def test_a_region_shows_its_place_and_white_around_the_slide(
    opener: Opener, locating_slide: Path, location: tuple[int, int], size: tuple[int, int]
) -> None:
    with opener(locating_slide) as slide:
        region = slide.read_region(location, 0, size)
    assert region.dtype == np.uint8
    assert region.shape == (size[1], size[0], 3)
    np.testing.assert_array_equal(region, ramp(*location, *size))


@pytest.mark.parametrize(
    ("location", "size"),
    [
        ((0, 0), (576, 384)),
        ((404, 800), (90, 80)),
        ((-40, -80), (50, 60)),
        ((2200, 1500), (60, 30)),
    ],
)
def test_locations_are_level_0_pixels_at_every_level(
    opener: Opener, locating_slide: Path, location: tuple[int, int], size: tuple[int, int]
) -> None:
    stored = np.pad(
        stored_level(locating_slide, 1), ((100, 100), (100, 100), (0, 0)), constant_values=255
    )
    left, top = (v // 4 + 100 for v in location)
    with opener(locating_slide) as slide:
        region = slide.read_region(location, 1, size)
    np.testing.assert_array_equal(region, stored[top : top + size[1], left : left + size[0]])


@pytest.mark.parametrize(("column", "row"), [(100, 60), (151, 200), (237, 133), (300, 251)])
def test_a_region_of_an_odd_pyramid_is_nearest_to_its_place(
    opener: Opener, synthetic: Any, column: int, row: int
) -> None:
    """1301 rows make 325, so a level pixel is no whole number of level-0 pixels."""
    stored = stored_level(synthetic.path, 1).astype(float)
    with opener(synthetic.path) as slide:
        assert slide.level_dimensions[1] == (375, 325)
        downsample = slide.level_downsamples[1]
        assert 4 < downsample < 4.01
        location = (round(column * downsample), round(row * downsample))
        region = slide.read_region(location, 1, (64, 64))
    distance = {
        (dx, dy): np.abs(region - stored[row + dy :, column + dx :][:64, :64]).mean()
        for dx in (-1, 0, 1)
        for dy in (-1, 0, 1)
    }
    assert min(distance, key=distance.__getitem__) == (0, 0)


def test_bytes_that_do_not_decode_raise_and_the_slide_stays_usable(
    opener: Opener, synthetic: Any, damage_tile: Callable[[Path, int], Path]
) -> None:
    damaged = damage_tile(synthetic.path, 8)  # column 2, row 1 of 6 columns
    with opener(damaged) as slide, opener(synthetic.path) as intact:
        assert slide.dimensions == intact.dimensions
        for _ in range(2):
            with pytest.raises(UnreadableRegionError, match=r"synthetic\.svs: level 0") as caught:
                slide.read_region((512, 256), 0, (10, 10))
            assert caught.value.__cause__ is not None
            for location, level, size in [((0, 0), 0, (512, 700)), ((0, 0), 1, (375, 325))]:
                np.testing.assert_array_equal(
                    slide.read_region(location, level, size),
                    intact.read_region(location, level, size),
                )


def test_tiles_that_were_not_scanned_are_white(opener: Opener, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    tiles = [rng.integers(0, 200, (256, 256, 3), dtype=np.uint8) for _ in range(6)]
    stored = [None if k in (1, 5) else tile for k, tile in enumerate(tiles)]
    path = tmp_path / "sparse.tif"
    with tifffile.TiffWriter(path) as tiff:
        tiff.write(
            iter(stored),
            shape=(500, 700, 3),
            dtype=np.uint8,
            tile=(256, 256),
            photometric="rgb",
            compression="zlib",
        )
    rows = [
        np.concatenate([np.full_like(tiles[0], 255) if t is None else t for t in row], axis=1)
        for row in (stored[:3], stored[3:])
    ]
    whole = np.concatenate(rows)[:500, :700]
    with opener(path) as slide:
        for x, y, width, height in [(0, 0, 700, 500), (300, 20, 100, 90), (200, 200, 400, 150)]:
            region = slide.read_region((x, y), 0, (width, height))
            np.testing.assert_array_equal(region, whole[y : y + height, x : x + width])


@pytest.mark.parametrize("reduction", [2, 3, 8])
def test_a_reduced_region_is_the_mean_of_its_place_and_white_outside(
    opener: Opener, locating_slide: Path, reduction: int
) -> None:
    whole = np.pad(ramp(0, 0, 2304, 1536), ((0, -1536 % reduction), (0, 0), (0, 0)), "edge")
    means = whole.reshape(whole.shape[0] // reduction, reduction, -1, reduction, 3).mean((1, 3))
    means = np.pad(means, ((9, 9), (9, 9), (0, 0)), constant_values=255)
    with opener(locating_slide) as slide:
        for left, top, width, height in [(-9, -5, 40, 30), (30, 20, 50, 40), (70, -9, 99, 20)]:
            location = (left * reduction, top * reduction)
            region = slide.read_reduced(location, 0, (width, height), reduction)
            expected = means[top + 9 : top + 9 + height, left + 9 : left + 9 + width]
            assert region.shape == (height, width, 3)
            assert np.abs(region - expected).max() < 0.67  # Pillow rounds thirds down
            into = np.zeros_like(region)
            slide.read_into(into, location, 0, reduction=reduction)
            np.testing.assert_array_equal(into, region)
        corner = slide.read_reduced((2304 - 2 * reduction, 0), 0, (5, 1), reduction)
        assert (corner[0, 2:] == 255).all()
        assert (corner[0, :2, 2] == 128).all()
        with pytest.raises(ValueError, match="not at a corner"):
            slide.read_reduced((1, 0), 0, (5, 5), reduction)


def test_leaving_the_context_closes_the_file(
    opener: Opener, locating_slide: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left_open: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda said: left_open.append(said.exc_value))
    with opener(locating_slide) as slide:
        slide.read_region((0, 0), 0, (10, 10))
    del slide
    gc.collect()
    assert not left_open


def test_readers_agree(synthetic: Any, shared_data: Path) -> None:
    for path in (synthetic.path, shared_data / "slides" / "CMU-1-Small-Region.svs"):
        with OpenSlideReader(path) as one, TiffSlideReader(path) as other:
            assert one.vendor == other.vendor
            assert one.level_dimensions == other.level_dimensions
            assert one.level_downsamples == pytest.approx(other.level_downsamples, rel=1e-3)
            assert set(one.associated_images) == set(other.associated_images)
            key = "openslide.mpp-x"
            assert float(one.properties[key]) == float(other.properties[key])
            for location, size in [((0, 0), one.dimensions), ((-30, 900), (555, 600))]:
                np.testing.assert_array_equal(
                    one.read_region(location, 0, size), other.read_region(location, 0, size)
                )


@pytest.mark.parametrize("codec", ["auto", "zstd"])
def test_pyramids_of_a_slide_agree_with_its_readers(
    shared_data: Path, tmp_path: Path, codec: Any
) -> None:
    source = shared_data / "slides" / "CMU-1-Small-Region.svs"
    made = convert_slide(
        SlideRef.of(source), tmp_path / "p.ome.zarr", options=PyramidOptions(codec=codec)
    )
    assert made.codec == ("jpeg" if codec == "auto" else "zstd")
    with (
        open_slide(tmp_path / "p.ome.zarr") as pyramid,
        OpenSlideReader(source) as one,
        TiffSlideReader(source) as other,
    ):
        assert pyramid.reader == ("jpeg" if codec == "auto" else "omezarr")
        assert (pyramid.vendor, pyramid.dimensions) == (one.vendor, one.dimensions)
        for location, size in [((0, 0), one.dimensions), ((-30, 900), (555, 600))]:
            shown = pyramid.read_region(location, 0, size)
            np.testing.assert_array_equal(shown, one.read_region(location, 0, size))
            np.testing.assert_array_equal(shown, other.read_region(location, 0, size))


def test_a_slide_travels_by_name(tmp_path: Path) -> None:
    path = write_slide(tmp_path / "ünï 1.ome.svs", Specimen(seed=1, width=300, height=200))
    ref = SlideRef.of(path)
    arrived = pickle.loads(pickle.dumps(ref))
    assert arrived == ref
    with open_slide(arrived) as slide:
        assert slide.dimensions == (300, 200)
