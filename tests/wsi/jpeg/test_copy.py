"""Copied pyramids hold openslide's pixels to the bit."""

from pathlib import Path
from typing import Any, Literal

import imagecodecs
import numpy as np
import openslide
import pytest
import tifffile
import zarr
from numpy.typing import NDArray
from ome_zarr_models import v05

from wsi.jpeg.copy import copy_shard
from wsi.jpeg.find import find_tiles
from wsi.jpeg.tiles import JpegTiles
from wsi.open import open_slide
from wsi.pyramid.write import PyramidRecord, write_pyramid
from wsi.resolution import resolve_mpp
from wsi.synthetic.aperio import write_svs
from wsi.testing import Specimen, render, write_locating_slide, write_slide
from wsi.tissue import Tissue

SPECIMEN = Specimen(seed=11, width=5000, height=4100, tumour=True)


def write_made(path: Path, colour: Literal["ycbcr", "rgb"]) -> Path:
    return write_svs(
        path,
        width=SPECIMEN.width,
        height=SPECIMEN.height,
        mpp=0.5,
        magnification=20,
        read_block=lambda x, y, w, h: render(SPECIMEN, x=x, y=y, width=w, height=h).rgb,
        colour=colour,
    )


@pytest.fixture(scope="module", params=["ycbcr", "rgb"])
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_made(tmp_path_factory.mktemp("made") / "slide.svs", request.param)


def copy(source: Path, path: Path) -> PyramidRecord:
    with open_slide(source) as slide:
        tiles = find_tiles(source, slide)
        assert tiles is not None
        tissue = Tissue(mask=np.ones((64, 64), np.bool_), downsample=max(slide.dimensions) / 64)
        resolution = resolve_mpp(slide.properties)
        return write_pyramid(
            slide, path, name="copy", resolution=resolution, tissue=tissue, tiles=tiles
        )


def region(group: zarr.Group, level: int, box: tuple[int, int, int, int]) -> NDArray[np.uint8]:
    x, y, width, height = box
    array: Any = group[str(level)]
    return np.asarray(array[:, y : y + height, x : x + width]).transpose(1, 2, 0)


def assert_equal_to_openslide(source: Path, path: Path) -> None:
    """Random regions, all four edges and, at level 0, everything."""
    group = zarr.open_group(path, mode="r")
    generator = np.random.default_rng(0)
    with openslide.OpenSlide(source) as slide:
        for level, (width, height) in enumerate(slide.level_dimensions):
            downsample = slide.level_downsamples[level]
            size = min(300, width, height)
            # Where a level's downsample is not whole, only multiples of level pixels that fall
            # on whole level-0 pixels can be asked of openslide.
            step = 1 if float(downsample).is_integer() else 10**9
            boxes = [(0, 0, size, size)]
            if step == 1:
                boxes.append((width - size, height - size, size, size))
                for _ in range(8):
                    x, y = (int(generator.integers(0, n - size + 1)) for n in (width, height))
                    boxes.append((x, y, size, size))
            for box in boxes:
                location = (round(box[0] * downsample), round(box[1] * downsample))
                expected = np.asarray(slide.read_region(location, level, box[2:]))[..., :3]
                np.testing.assert_array_equal(region(group, level, box), expected)


def test_every_level_is_openslides_to_the_bit(made: Path, tmp_path: Path) -> None:
    record = copy(made, tmp_path / "image.ome.zarr")
    assert (record.codec, record.invalid_tiles) == ("jpeg", 0)
    assert_equal_to_openslide(made, tmp_path / "image.ome.zarr")


def test_a_real_slide_of_one_level_is_too_and_gets_the_levels_it_lacks(
    shared_data: Path, tmp_path: Path
) -> None:
    source = shared_data / "slides" / "CMU-1-Small-Region.svs"
    record = copy(source, tmp_path / "image.ome.zarr")
    assert_equal_to_openslide(source, tmp_path / "image.ome.zarr")
    assert record.level_shapes == ((2967, 2220), (1484, 1110), (742, 555), (371, 278))


def test_it_is_a_valid_image_hardly_larger_than_its_source(made: Path, tmp_path: Path) -> None:
    path = tmp_path / "image.ome.zarr"
    copy(made, path)
    group = zarr.open_group(path, mode="r")
    v05.Image.from_zarr(group)
    written = sum(file.stat().st_size for file in path.rglob("c/**/*") if file.is_file())
    assert written < 1.15 * made.stat().st_size


def test_what_tiles_say_beside_their_pixels_stays_behind(tmp_path: Path) -> None:
    source, path = tmp_path / "slide.tif", tmp_path / "image.ome.zarr"
    rgb = render(SPECIMEN, x=1024, y=1024, width=512, height=512).rgb
    remark = b"\xff\xfe\x00\x0aDOE^JOHN"
    streams = []
    for y, x in np.ndindex(2, 2):
        tile = np.ascontiguousarray(rgb[y * 256 :, x * 256 :][:256, :256])
        stream = bytes(imagecodecs.jpeg8_encode(tile, level=90))
        streams.append(stream[:2] + remark * (y + 1) + stream[2:])
    said: Any = {"photometric": "ycbcr", "resolution": (20_000, 20_000), "resolutionunit": 3}
    shape: Any = {"shape": rgb.shape, "dtype": np.uint8, "tile": (256, 256)}
    tifffile.imwrite(source, iter(streams), compression="jpeg", metadata=None, **shape, **said)
    assert copy(source, path).invalid_tiles == 0
    assert not any(b"DOE" in file.read_bytes() for file in path.rglob("*") if file.is_file())
    assert_equal_to_openslide(source, path)


def tiles_of(source: Path) -> JpegTiles:
    with open_slide(source) as slide:
        tiles = find_tiles(source, slide)
    assert tiles is not None
    return tiles


def overwrite_tile(source: Path, row: int, column: int) -> None:
    """Write zeros over a tile of level 0."""
    level = tiles_of(source).levels[0]
    place = row * level.grid[0] + column
    with level.files[level.file_of[place]].open("r+b") as file:
        file.seek(int(level.offsets[place]))
        file.write(b"\x00" * int(level.lengths[place]))


def test_a_damaged_tile_is_recorded_and_black_and_the_rest_is_whole(tmp_path: Path) -> None:
    source, path = write_made(tmp_path / "slide.svs", "ycbcr"), tmp_path / "image.ome.zarr"
    row, column = 7, 9
    overwrite_tile(source, row, column)
    assert copy(source, path).invalid_tiles == 1
    group = zarr.open_group(path, mode="r")
    validity: Any = group["validity/0"]
    assert np.argwhere(~np.asarray(validity[:])).tolist() == [[row, column]]
    assert validity.attrs["chunk_px"] == 256
    assert region(group, 0, (column * 256, row * 256, 256, 256)).max() == 0
    neighbour = region(group, 0, (column * 256 + 256, row * 256, 256, 256))
    expected = render(SPECIMEN, x=column * 256 + 256, y=row * 256, width=256, height=256).rgb
    assert np.abs(neighbour.astype(int) - expected).mean() < 8


def test_a_copy_of_the_copy_records_it_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wsi.jpeg.copy.SHARD_PX", 512)
    source = write_slide(tmp_path / "slide.svs", Specimen(seed=5, width=1500, height=1301))
    places = [[0, 3], [2, 2], [3, 2], [4, 5]]  # some in a shard with more bytes than the first
    for row, column in places:
        overwrite_tile(source, row, column)
    first, second = tmp_path / "first.ome.zarr", tmp_path / "second.ome.zarr"
    assert copy(source, first).invalid_tiles == len(places)
    assert copy(first, second).invalid_tiles == len(places)
    validity: Any = zarr.open_group(second, mode="r")["validity/0"]
    assert np.argwhere(~np.asarray(validity[:])).tolist() == places
    assert region(zarr.open_group(second, mode="r"), 0, (512, 512, 256, 512)).max() == 0


def test_a_tile_of_a_pyramid_that_is_no_jpeg_any_more_is_not_copied(
    made: Path, tmp_path: Path
) -> None:
    path = tmp_path / "image.ome.zarr"
    copy(made, path)
    overwrite_tile(path, 1, 3)
    level = tiles_of(path).levels[0]
    columns, rows = level.grid
    valid = copy_shard(level, tmp_path / "shard", shard_tiles=(rows, columns))
    assert np.argwhere(~valid).tolist() == [[1, 3]]


def test_what_cannot_be_copied_is_not(tmp_path: Path, shared_data: Path) -> None:
    deflated = write_locating_slide(tmp_path / "locating.svs", width=600, height=500)
    for source in (
        deflated,
        shared_data / "slides" / "test3-DAPI-2-(387).ndpi",
        shared_data / "slides" / "kidney-48-5.tif",
    ):
        with open_slide(source) as slide:
            assert find_tiles(source, slide) is None
