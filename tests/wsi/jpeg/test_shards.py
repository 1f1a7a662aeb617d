"""The tiles of our own pyramids are found in their shards and read without Zarr."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from zarr.codecs import TransposeCodec

from wsi.errors import UnreadableRegionError, UnsupportedSlideError
from wsi.jpeg.codec import JpegCodec
from wsi.jpeg.find import find_tiles
from wsi.jpeg.shards import shard_tiles
from wsi.ngff import multiscales
from wsi.open import open_slide
from wsi.readers.jpeg_reader import JpegSlide
from wsi.readers.omezarr_reader import OmeZarrReader
from wsi.slide import Pixels, Slide
from wsi.testing import Specimen, render

SIZE = (1000, 700)  # width, height
TILE, SHARD = 64, 256
BLANK_TILE = (3, 5)  # row, column of a tile that is not stored
BLANK_SHARD = np.s_[512:700, 0:256]


class ZarrSlide(Slide):
    """As little of a reader of Zarr pyramids as a `JpegSlide` needs to wrap."""

    reader, vendor = "zarr", "made"
    associated_images = ()
    icc_profile = None

    def __init__(self, path: Path, count: int = 3) -> None:
        self.arrays: list[Any] = [zarr.open_array(path / str(n), mode="r") for n in range(count)]
        self.level_dimensions = tuple((a.shape[2], a.shape[1]) for a in self.arrays)
        self.level_downsamples = tuple(2.0**n for n in range(count))
        self.properties: dict[str, str] = {}

    def read_region(self, location: tuple[int, int], level: int, size: tuple[int, int]) -> Pixels:
        x, y = (round(v / self.level_downsamples[level]) for v in location)
        block = self.arrays[level][:, y : y + size[1], x : x + size[0]]
        return np.ascontiguousarray(block.transpose(1, 2, 0))

    def read_associated(self, name: str) -> Pixels:
        raise KeyError(name)

    def close(self) -> None:
        pass


@pytest.fixture(scope="module", params=["ycbcr", "rgb"])
def pyramid(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two levels behind the codec, one behind zstd; a tile and a shard are not there."""
    path: Path = tmp_path_factory.mktemp("pyramids") / "image.ome.zarr"
    group = zarr.create_group(path, zarr_format=3)
    pixels = render(
        Specimen(seed=6, width=4000, height=4000), x=1500, y=1500, width=SIZE[0], height=SIZE[1]
    ).rgb.transpose(2, 0, 1)
    sampling = ((1, 1),) * 3 if request.param == "rgb" else ((2, 2), (1, 1), (1, 1))
    for level in range(3):
        data = pixels[:, :: 2**level, :: 2**level].copy()
        if level == 0:
            y, x = (n * TILE for n in BLANK_TILE)
            data[:, y : y + TILE, x : x + TILE] = 255
            data[:, *BLANK_SHARD] = 255
        options: dict[str, Any] = {}
        if level < 2:
            options = {
                "filters": [TransposeCodec(order=(1, 2, 0))],
                "serializer": JpegCodec(
                    quality=90, encoded_color_space=request.param, subsampling=sampling
                ),
                "compressors": None,
            }
        array = group.create_array(
            str(level),
            shape=data.shape,
            dtype="uint8",
            chunks=(3, TILE, TILE),
            shards=(3, SHARD, SHARD),
            fill_value=255,
            **options,
        )
        array[...] = data
    ome = multiscales(name="made", axes="cyx", downsamples=[1, 2, 4], level0_mpp=0.5)
    group.attrs.update({"ome": ome})
    return path


def opened(path: Path) -> JpegSlide:
    tiles = shard_tiles(path)
    assert tiles is not None
    return JpegSlide(ZarrSlide(path), tiles)


def test_every_pixel_is_zarrs(pyramid: Path) -> None:
    tiles = shard_tiles(pyramid)
    assert tiles is not None
    assert [level.dimensions for level in tiles.levels] == [(1000, 700), (500, 350)]
    with opened(pyramid) as slide, ZarrSlide(pyramid) as expected:
        for level, size in enumerate(expected.level_dimensions):
            np.testing.assert_array_equal(
                slide.read_region((0, 0), level, size), expected.read_region((0, 0), level, size)
            )
            np.testing.assert_array_equal(
                slide.read_region((100, 200), level, (77, 59)),
                expected.read_region((100, 200), level, (77, 59)),
            )


def test_what_is_not_stored_has_length_0_and_is_white(pyramid: Path) -> None:
    tiles = shard_tiles(pyramid)
    assert tiles is not None
    level = tiles.levels[0]
    absent = np.argwhere(level.lengths.reshape(level.grid[::-1]) == 0).tolist()
    in_shard = [[row, column] for row in range(8, 11) for column in range(4)]
    assert absent == [list(BLANK_TILE), *in_shard]
    assert len(level.files) == 3 * 4 - 1
    with opened(pyramid) as slide:
        y, x = (n * TILE for n in BLANK_TILE)
        assert (slide.read_region((x, y), 0, (TILE, TILE)) == 255).all()


def test_find_tiles_knows_folders(pyramid: Path) -> None:
    with ZarrSlide(pyramid) as slide:
        found = find_tiles(pyramid, slide)
        assert found is not None
        assert len(found.levels) == 2
        with JpegSlide(slide, found) as wrapped:
            assert find_tiles(pyramid, wrapped) is found
        slide.level_dimensions = ((9, 9), *slide.level_dimensions[1:])
        assert find_tiles(pyramid, slide) is None


def test_a_damaged_index_and_a_cut_shard_raise_for_their_tiles(
    pyramid: Path, tmp_path: Path
) -> None:
    path = shutil.copytree(pyramid, tmp_path / "damaged.ome.zarr")
    first, second = (path / "0" / "c" / "0" / "0" / str(n) for n in (1, 2))
    content = bytearray(first.read_bytes())
    content[-20] ^= 1
    first.write_bytes(content)
    second.write_bytes(second.read_bytes()[:3000])
    with opened(path) as slide, opened(pyramid) as intact:
        for x in (256, 511, 512, 767):
            with pytest.raises(UnreadableRegionError, match="the file ends inside the tile"):
                slide.read_region((x, 10), 0, (1, 1))
        for x in (0, 768):
            np.testing.assert_array_equal(
                slide.read_region((x, 0), 0, (200, 256)), intact.read_region((x, 0), 0, (200, 256))
            )


def test_tiles_that_the_image_calls_invalid_raise(pyramid: Path, tmp_path: Path) -> None:
    path = shutil.copytree(pyramid, tmp_path / "invalid.ome.zarr")
    valid = np.ones((11, 16), np.bool_)
    valid[2, 1] = False
    zarr.open_group(path).create_array("validity/0", data=valid, overwrite=True)
    with opened(path) as slide:
        with pytest.raises(UnreadableRegionError):
            slide.read_region((TILE, 2 * TILE), 0, (1, 1))
        assert slide.read_region((2 * TILE, 2 * TILE), 0, (TILE, TILE)).min() < 255


def test_an_invalid_tile_lies_beyond_the_end_of_its_own_shard(
    pyramid: Path, tmp_path: Path
) -> None:
    path = shutil.copytree(pyramid, tmp_path / "invalid.ome.zarr")
    valid = np.zeros((11, 16), np.bool_)
    valid[0, 0] = True  # tells what the level's streams are like
    zarr.open_group(path).create_array("validity/0", data=valid, overwrite=True)
    tiles = shard_tiles(path)
    assert tiles is not None
    level = tiles.levels[0]
    ends = np.array([file.stat().st_size for file in level.files])
    assert len(set(ends)) > 1
    np.testing.assert_array_equal(level.offsets[1:], ends[level.file_of[1:]])
    assert (level.lengths[1:] == 1).all()


@pytest.mark.parametrize(("damaged", "levels"), [(False, 2), (True, 1)])
def test_a_level_made_of_one_that_did_not_decode_is_left_to_the_reader(
    pyramid: Path, tmp_path: Path, damaged: bool, levels: int
) -> None:
    """It knows what lies under a pixel of a level that has no record of its own."""
    path = shutil.copytree(pyramid, tmp_path / "computed.ome.zarr")
    valid = np.ones((11, 16), np.bool_)
    valid[2, 1] = not damaged
    zarr.open_group(path).create_array("validity/0", data=valid, overwrite=True)
    tiles = shard_tiles(path)
    assert tiles is not None
    assert len(tiles.levels) == levels


def test_an_empty_shard_raises_for_its_tiles(pyramid: Path, tmp_path: Path) -> None:
    """As a machine leaves it that loses power."""
    path = shutil.copytree(pyramid, tmp_path / "empty.ome.zarr")
    (path / "0" / "c" / "0" / "0" / "1").write_bytes(b"")
    with opened(path) as slide:
        with pytest.raises(UnreadableRegionError, match="the file ends inside the tile"):
            slide.read_region((256, 10), 0, (1, 1))
        assert slide.read_region((0, 0), 0, (256, 256)).min() < 255


def test_a_level_that_begins_elsewhere_is_left_to_the_reader(pyramid: Path, tmp_path: Path) -> None:
    """Pixels whose centres, not corners, coincide: level 1 begins half a pixel outside."""
    path = shutil.copytree(pyramid, tmp_path / "moved.ome.zarr")
    group = zarr.open_group(path)
    ome: Any = group.attrs["ome"]
    for dataset in ome["multiscales"][0]["datasets"]:
        (translation,) = (
            t for t in dataset["coordinateTransformations"] if t["type"] == "translation"
        )
        translation["translation"] = [0, 0, 0]
    group.attrs["ome"] = ome
    with open_slide(path) as slide, OmeZarrReader(path) as expected:
        assert isinstance(slide, JpegSlide)
        assert len(slide.tiles.levels) == 1
        for x in range(200, 204):
            np.testing.assert_array_equal(
                slide.read_region((x, 100), 1, (20, 20)),
                expected.read_region((x, 100), 1, (20, 20)),
            )


def test_an_image_of_which_nobody_knows_what_decoded_is_refused(
    pyramid: Path, tmp_path: Path
) -> None:
    path = shutil.copytree(pyramid, tmp_path / "unknown.ome.zarr")
    (path / "validity" / "0").mkdir(parents=True, exist_ok=True)
    (path / "validity" / "0" / "zarr.json").write_text("{}")
    with pytest.raises(UnsupportedSlideError, match="the record of what decoded"):
        shard_tiles(path)


def edit(path: Path, *keys: Any, value: Any) -> None:
    """Change one entry of an array's metadata."""
    file = path / "0" / "zarr.json"
    metadata = json.loads(file.read_text())
    inner = metadata
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = value
    file.write_text(json.dumps(metadata))


INNER = ("codecs", 0, "configuration", "codecs")


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        (("fill_value",), 0),
        (("data_type",), "uint16"),
        (("codecs",), []),
        (("codecs", 0, "configuration", "index_location"), "start"),
        (("codecs", 0, "configuration", "index_codecs"), [{"name": "bytes"}]),
        ((*INNER, 0, "configuration", "order"), [2, 1, 0]),
        ((*INNER, 1, "name"), "zstd"),
        (("shape",), [4, 700, 1000]),
        (("shape",), [3, 10**9, 10**9]),
    ],
)
def test_other_ways_to_store_a_level_are_not_taken_for_ours(
    pyramid: Path, tmp_path: Path, keys: tuple[Any, ...], value: Any
) -> None:
    path = shutil.copytree(pyramid, tmp_path / "other.ome.zarr")
    edit(path, *keys, value=value)
    assert shard_tiles(path) is None


def test_a_folder_that_is_no_image_has_no_tiles(tmp_path: Path) -> None:
    assert shard_tiles(tmp_path) is None
    (tmp_path / "zarr.json").write_text("[]")
    assert shard_tiles(tmp_path) is None
    (tmp_path / "zarr.json").write_text("{not json")
    assert shard_tiles(tmp_path) is None
