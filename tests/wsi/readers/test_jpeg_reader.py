"""JPEG tiles are read as OpenSlide reads them, to the bit, once each, or not at all."""

import os
import shutil
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st

from wsi.errors import UnreadableRegionError
from wsi.jpeg.find import find_tiles
from wsi.jpeg.tiles import JpegTiles
from wsi.open import open_slide
from wsi.readers import jpeg_reader
from wsi.readers.jpeg_reader import JpegSlide
from wsi.readers.openslide_reader import OpenSlideReader
from wsi.slide import Pixels
from wsi.synthetic.aperio import write_svs
from wsi.testing import Specimen, render

SPECIMEN = Specimen(seed=4, width=2064, height=1300, tumour=True)


def write_made(path: Path, colour: Any) -> Path:
    return write_svs(
        path,
        width=SPECIMEN.width,
        height=SPECIMEN.height,
        mpp=0.5,
        magnification=20,
        read_block=lambda x, y, w, h: render(SPECIMEN, x=x, y=y, width=w, height=h).rgb,
        colour=colour,
    )


def write_plain(path: Path, subsampling: tuple[int, int]) -> Path:
    """A generic tiled TIFF with tiles of 128 pixels in YCbCr, two of them skipped."""
    pixels = render(SPECIMEN, x=600, y=400, width=700, height=500).rgb
    tifffile.imwrite(
        path,
        pixels,
        tile=(128, 128),
        photometric="rgb",
        compression="jpeg",
        subsampling=subsampling,
    )
    with tifffile.TiffFile(path) as tiff:
        tag = tiff.pages.first.tags["TileByteCounts"]
        counts = list(tag.value)
    counts[3] = counts[8] = 0
    with tifffile.TiffFile(path, mode="r+b") as tiff:
        tiff.pages.first.tags["TileByteCounts"].overwrite(counts)
    return path


@pytest.fixture(scope="module", params=["ycbcr", "rgb", (1, 1), (2, 1), (2, 2)], ids=str)
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("made") / "made.tif"
    if isinstance(request.param, str):
        return write_made(path.with_suffix(".svs"), request.param)
    return write_plain(path, request.param)


@pytest.fixture(scope="module")
def tissue(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_made(tmp_path_factory.mktemp("tissue") / "tissue.svs", "ycbcr")


def opened(path: Path, **options: Any) -> JpegSlide:
    slide = OpenSlideReader(path)
    tiles = find_tiles(path, slide)
    assert tiles is not None
    return JpegSlide(slide, tiles, **options)


@given(
    level=st.integers(0, 1),
    at=st.tuples(st.floats(-0.1, 1.1), st.floats(-0.1, 1.1)),
    size=st.tuples(st.integers(1, 700), st.integers(1, 700)),
)
def test_any_region_is_openslides_to_the_bit(
    made: Path, level: int, at: tuple[float, float], size: tuple[int, int]
) -> None:
    with opened(made, cache_bytes=300_000) as slide, OpenSlideReader(made) as expected:
        level = min(level, len(slide.level_dimensions) - 1)
        step = round(slide.level_downsamples[level])
        assert slide.level_downsamples[level] == step
        x, y = (
            round(share * n / step) * step for share, n in zip(at, slide.dimensions, strict=True)
        )
        np.testing.assert_array_equal(
            slide.read_region((x, y), level, size), expected.read_region((x, y), level, size)
        )


def test_a_real_slide_too(shared_data: Path) -> None:
    path = shared_data / "slides" / "CMU-1-Small-Region.svs"
    with open_slide(path) as slide, OpenSlideReader(path) as expected:
        assert isinstance(slide, JpegSlide)
        for location, size in [((0, 0), slide.dimensions), ((2000, 2900), (480, 240))]:
            np.testing.assert_array_equal(
                slide.read_region(location, 0, size), expected.read_region(location, 0, size)
            )
        assert slide.properties == expected.properties
        np.testing.assert_array_equal(
            slide.read_associated("label"), expected.read_associated("label")
        )


def test_threads_see_what_one_sees_and_each_tile_is_decoded_once(
    tissue: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: Counter[bytes] = Counter()
    decode_into = jpeg_reader.decode_into

    def counting(out: Pixels, stream: bytes, *, reduction: int = 1) -> None:
        decoded[stream] += 1
        decode_into(out, stream, reduction=reduction)

    corners = [(x, y) for y in range(0, 1300, 100) for x in range(0, 2000, 100)]
    with OpenSlideReader(tissue) as slide:
        expected = [slide.read_region(corner, 0, (150, 150)) for corner in corners]
    monkeypatch.setattr(jpeg_reader, "decode_into", counting)
    with opened(tissue) as slide, ThreadPoolExecutor(4) as pool:
        slide._cache.widen(100 << 20)  # a thread that is held up may find its tiles gone
        regions = list(pool.map(lambda c: slide.read_region(c, 0, (150, 150)), corners))
        columns, rows = slide.tiles.levels[0].grid
        streams = [slide.tiles.levels[0].whole_stream(s) for s in stored(tissue, slide.tiles)]
    np.testing.assert_array_equal(regions, expected)
    # Tiles of one colour have the same bytes, so equal streams are counted together.
    assert decoded == Counter(streams)
    assert sum(decoded.values()) == columns * rows


def stored(path: Path, tiles: JpegTiles) -> list[bytes]:
    """The bytes of each tile of level 0."""
    content, level = path.read_bytes(), tiles.levels[0]
    places = zip(level.offsets.tolist(), level.lengths.tolist(), strict=True)
    return [content[offset : offset + length] for offset, length in places]


def test_levels_without_tiles_are_read_from_the_wrapped_slide(tissue: Path) -> None:
    with opened(tissue) as whole:
        fine = JpegSlide(OpenSlideReader(tissue), JpegTiles(levels=whole.tiles.levels[:1]))
        with fine:
            for level in (0, 1):
                np.testing.assert_array_equal(
                    fine.read_region((400, 400), level, (90, 80)),
                    whole.read_region((400, 400), level, (90, 80)),
                )


def test_tiles_in_more_files_than_may_be_open(
    tissue: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jpeg_reader, "OPEN_FILES", 2)
    with opened(tissue) as slide:
        expected = slide.read_region((0, 0), 0, slide.dimensions)
        level = slide.tiles.levels[0]
        files = tuple(shutil.copy(tissue, tmp_path / f"{n}.svs") for n in range(5))
        spread = np.arange(len(level.offsets), dtype=np.int32) % 5
        many = JpegTiles(levels=(replace(level, files=files, file_of=spread),))
        before = len(os.listdir("/proc/self/fd"))
        with JpegSlide(OpenSlideReader(tissue), many) as scattered:
            found = scattered.read_region((0, 0), 0, slide.dimensions)
        assert len(os.listdir("/proc/self/fd")) == before
    np.testing.assert_array_equal(found, expected)


def damaged(path: Path, folder: Path, change: Callable[[bytearray], None]) -> Path:
    """A copy with the bytes of the tile at (1024, 512) changed."""
    copy = folder / path.name
    with opened(path) as slide:
        level = slide.tiles.levels[0]
    place = 2 * level.grid[0] + 4
    content = bytearray(path.read_bytes())
    part = slice(int(level.offsets[place]), int(level.offsets[place] + level.lengths[place]))
    tile = content[part]
    change(tile)
    content[part] = tile
    copy.write_bytes(content)
    return copy


def zero_the_middle(tile: bytearray) -> None:
    tile[len(tile) // 2 : len(tile) // 2 + 400] = bytes(400)


def lose_bytes(tile: bytearray) -> None:
    middle = len(tile) // 2
    tile[middle:-2] = tile[middle + 200 : -2] + b"\xff\xd9" + bytes(198)


@pytest.mark.parametrize("change", [zero_the_middle, lose_bytes])
def test_pixels_that_are_damaged_inside_a_whole_stream_raise(
    tissue: Path, tmp_path: Path, change: Callable[[bytearray], None]
) -> None:
    with opened(damaged(tissue, tmp_path, change)) as slide, opened(tissue) as intact:
        for size in [(256, 256), (10, 10), (1000, 700)]:
            for reduction in (1, 4):
                with pytest.raises(UnreadableRegionError, match="Corrupt JPEG data"):
                    slide.read_reduced((1024, 512), 0, size, reduction)
        np.testing.assert_array_equal(
            slide.read_region((0, 0), 0, (1024, 1300)), intact.read_region((0, 0), 0, (1024, 1300))
        )


def test_a_tile_of_another_size_than_its_level_says_raises(tissue: Path, tmp_path: Path) -> None:
    def shrink(tile: bytearray) -> None:
        frame = tile.index(b"\xff\xc0")
        tile[frame + 5 : frame + 9] = b"\x00\x80\x00\x80"

    with opened(damaged(tissue, tmp_path, shrink)) as slide:
        with pytest.raises(UnreadableRegionError):
            slide.read_region((1024, 512), 0, (256, 256))
        assert slide.read_region((0, 0), 0, (256, 256)).shape == (256, 256, 3)


def test_a_scanner_whose_tiles_all_make_the_decoder_complain_is_left_to_openslide(
    tissue: Path, tmp_path: Path
) -> None:
    """Extra bytes before the end of every tile, as some encoders write them."""
    copy = tmp_path / tissue.name
    shutil.copyfile(tissue, copy)
    with tifffile.TiffFile(copy, mode="r+b") as tiff, copy.open("ab") as end:
        for page in (page for page in tiff.pages if page.is_tiled):
            offsets = []
            for offset, length in zip(page.dataoffsets, page.databytecounts, strict=True):
                tiff.filehandle.seek(offset)
                tile = tiff.filehandle.read(length)
                offsets.append(end.tell())
                end.write(tile[:-2] + bytes(100) + tile[-2:])
            page.tags["TileByteCounts"].overwrite([n + 100 for n in page.databytecounts])
            page.tags["TileOffsets"].overwrite(offsets)
    with opened(copy) as strict, pytest.raises(UnreadableRegionError, match="extraneous"):
        strict.read_region((0, 0), 0, (10, 10))
    with open_slide(copy) as slide:
        assert slide.reader == "openslide"


@pytest.mark.parametrize("reduction", [2, 4, 8])
def test_reduced_while_decoding_is_close_to_the_mean_and_not_shifted(
    tissue: Path, reduction: int
) -> None:
    size = (SPECIMEN.width // reduction - 40, SPECIMEN.height // reduction - 40)
    with opened(tissue) as slide, OpenSlideReader(tissue) as exact:
        fast = slide.read_reduced((0, 0), 0, size, reduction).astype(float)
        mean = exact.read_reduced((0, 0), 0, size, reduction).astype(float)
    assert np.abs(fast - mean).mean() < 0.5
    assert np.abs(fast.mean((0, 1)) - mean.mean((0, 1))).max() < 0.2
    assert np.abs(shift_between(fast[..., 1], mean[..., 1])).max() < 0.02


@pytest.mark.parametrize("reduction", [2, 4, 8])
def test_on_a_real_slide_too(shared_data: Path, reduction: int) -> None:
    path = shared_data / "slides" / "CMU-1-Small-Region.svs"
    size = (2220 // reduction, 2967 // reduction)
    with opened(path) as slide, OpenSlideReader(path) as exact:
        fast = slide.read_reduced((0, 0), 0, size, reduction).astype(float)
        mean = exact.read_reduced((0, 0), 0, size, reduction).astype(float)
    assert np.abs(fast - mean).mean() < 0.3
    assert np.abs(shift_between(fast[..., 1], mean[..., 1])).max() < 0.01


def shift_between(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """By how many pixels `one` is displaced against `other`, (down, right), by least squares."""
    down, right = (np.gradient(other, axis=axis).ravel() for axis in (0, 1))
    slopes = np.stack([down, right], axis=1)
    return -np.linalg.lstsq(slopes, (one - other).ravel(), rcond=None)[0]


@given(reduction=st.sampled_from([2, 4, 6, 8, 16]), columns=st.integers(1, 30))
def test_the_slides_edge_is_averaged_without_what_pads_its_tiles(
    tissue: Path, reduction: int, columns: int
) -> None:
    """The last tiles reach over the edge; 1300 is no multiple of 8."""
    left = SPECIMEN.width // reduction - columns
    top = SPECIMEN.height // reduction - 3
    location, size = (left * reduction, top * reduction), (columns + 2, 6)
    with opened(tissue) as slide, OpenSlideReader(tissue) as exact:
        fast = slide.read_reduced(location, 0, size, reduction).astype(int)
        mean = exact.read_reduced(location, 0, size, reduction)
    inside = -(-SPECIMEN.width // reduction) - left
    assert (
        np.abs(
            fast[:, max(0, inside - 16 // reduction) :]
            - mean[:, max(0, inside - 16 // reduction) :]
        ).max()
        <= 1
    )
    assert (fast[:, inside:] == 255).all()


def test_regions_decoded_by_many_threads_are_the_same(tissue: Path) -> None:
    with opened(tissue, threads=1) as one, opened(tissue, threads=3) as three:
        for reduction in (1, 3, 4, 12):
            size = (SPECIMEN.width // reduction, SPECIMEN.height // reduction)
            np.testing.assert_array_equal(
                one.read_reduced((0, 0), 0, size, reduction),
                three.read_reduced((0, 0), 0, size, reduction),
            )
