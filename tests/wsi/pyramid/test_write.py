"""The pyramid holds the scanner's pixels, to a standard, and says what it could not read."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import openslide
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from ome_zarr_models import v05

from wsi.ngff import pixel_of
from wsi.open import open_slide
from wsi.pyramid.options import PyramidOptions
from wsi.pyramid.write import PyramidRecord, write_pyramid
from wsi.resolution import MppSource, Resolution
from wsi.slide import Pixels, Slide
from wsi.tissue import Tissue

RESOLUTION = Resolution(mpp=0.5, source=MppSource.VENDOR)
CHUNK, SHARD, COARSEST = 64, 256, 100
SMALL = PyramidOptions(chunk_px=CHUNK, block_px=SHARD, coarsest_px=COARSEST)  # many of each


def write(
    slide: Slide, path: Path, tissue: Tissue | None = None, options: PyramidOptions = SMALL
) -> PyramidRecord:
    width, height = slide.dimensions
    rows, columns = -(-height // 8), -(-width // 8)
    checks = np.indices((rows, columns)).sum(axis=0) % 2 == 0
    tissue = tissue or Tissue(mask=checks, downsample=8.0, flags=("pen_marks",))
    return write_pyramid(
        slide,
        path,
        name="made up",
        resolution=RESOLUTION,
        tissue=tissue,
        options=options,
        threads=2,
    )


def levels_of(path: Path) -> list[NDArray[np.uint8]]:
    """The pixels of every level the metadata names, each (3, H, W)."""
    group = zarr.open_group(path, mode="r")
    ome: Any = group.attrs["ome"]
    return [np.asarray(group[d["path"]][:]) for d in ome["multiscales"][0]["datasets"]]  # type: ignore[index]


def halved(pixels: NDArray[np.uint8]) -> NDArray[np.integer[Any]]:
    """Rounded means of 2 x 2 pixels of (3, H, W), of those there are in an odd row or column."""
    rows, columns = np.arange(0, pixels.shape[1], 2), np.arange(0, pixels.shape[2], 2)
    sums = np.add.reduceat(pixels.astype(int), rows, axis=1)
    sums = np.add.reduceat(sums, columns, axis=2)
    heights = np.minimum(pixels.shape[1] - rows, 2)
    widths = np.minimum(pixels.shape[2] - columns, 2)
    count = heights[:, None] * widths
    return (sums + count // 2) // count


def test_level_0_is_openslides_to_the_bit_and_each_level_the_mean_of_the_one_before(
    synthetic: Any, tmp_path: Path
) -> None:
    path = tmp_path / "image.ome.zarr"
    with open_slide(synthetic.path) as slide:
        record = write(slide, path)
    levels = levels_of(path)
    with openslide.OpenSlide(synthetic.path) as slide:
        expected = np.asarray(slide.read_region((0, 0), 0, slide.dimensions).convert("RGB"))
    np.testing.assert_array_equal(levels[0].transpose(1, 2, 0), expected)
    shapes = ((1301, 1500), (651, 750), (326, 375), (163, 188), (82, 94))
    assert record == PyramidRecord(codec="zstd", level_shapes=shapes, invalid_tiles=0)
    assert tuple(level.shape[1:] for level in levels) == shapes
    for finer, coarser in itertools.pairwise(levels):
        np.testing.assert_array_equal(coarser, halved(finer))


@settings(max_examples=25)
@given(
    width=st.integers(1, 75),
    height=st.integers(1, 75),
    coarsest=st.sampled_from([1, 4, 9]),
    block=st.sampled_from([8, 16, 32]),
)
def test_slides_of_any_size(
    array_slide: Callable[[Pixels], Slide],
    tmp_path_factory: pytest.TempPathFactory,
    width: int,
    height: int,
    coarsest: int,
    block: int,
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    path = tmp_path_factory.mktemp("any") / "image.ome.zarr"
    options = PyramidOptions(chunk_px=4, block_px=block, coarsest_px=coarsest)
    write(array_slide(pixels), path, options=options)
    levels = levels_of(path)
    np.testing.assert_array_equal(levels[0], pixels.transpose(2, 0, 1))
    for finer, coarser in itertools.pairwise(levels):
        assert max(finer.shape[1:]) > coarsest
        np.testing.assert_array_equal(coarser, halved(finer))
    assert max(levels[-1].shape[1:]) <= coarsest


@pytest.fixture
def written(synthetic: Any, tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "image.ome.zarr"
    with open_slide(synthetic.path) as slide:
        write(slide, path)
    return path


def test_the_group_is_valid_ome_zarr(written: Path) -> None:
    group = zarr.open_group(written, mode="r", zarr_format=3)
    image = v05.Image.from_zarr(group)
    assert len(image.attributes.ome.multiscales) == 1
    assert len(image.attributes.ome.multiscales[0].datasets) == 5
    assert image.labels is not None
    labels = v05.Labels.from_zarr(group["labels"])  # type: ignore[arg-type]
    assert list(labels.attributes.ome.labels) == ["tissue"]
    v05.ImageLabel.from_zarr(group["labels/tissue"])  # type: ignore[arg-type]


def test_levels_lie_on_the_slide_in_micrometres(written: Path) -> None:
    ome: Any = zarr.open_group(written, mode="r").attrs["ome"]
    for level, dataset in enumerate(ome["multiscales"][0]["datasets"]):
        downsample, centre = pixel_of(dataset["coordinateTransformations"], level0_mpp=0.5)
        assert (downsample, centre) == (2**level, (2**level - 1) / 2)


def test_arrays_are_sharded_and_planar(written: Path) -> None:
    group = zarr.open_group(written, mode="r")
    for name, height, width, shard in (
        ("0", 1301, 1500, SHARD),
        ("1", 651, 750, SHARD // 2),
        ("2", 326, 375, SHARD // 4),
        ("3", 163, 188, SHARD // 2),
        ("4", 82, 94, SHARD // 4),
    ):
        array: Any = group[name]
        assert array.shape == (3, height, width)
        assert array.dtype == np.uint8
        assert array.metadata.dimension_names == ("c", "y", "x")
        assert array.chunks == (3, CHUNK, CHUNK)
        shards = [min(shard, -(-n // CHUNK) * CHUNK) for n in (height, width)]
        assert array.shards == (3, *shards)
        files = [p for p in (written / name / "c").rglob("*") if p.is_file()]
        count = [-(-n // shard) for n, shard in zip((height, width), shards, strict=True)]
        assert len(files) == count[0] * count[1]


def test_the_tissue_is_a_label_over_the_image(written: Path) -> None:
    label = zarr.open_group(written / "labels" / "tissue", mode="r")
    mask: Any = label["0"]
    expected = np.indices((163, 188)).sum(axis=0) % 2 == 0
    assert mask.dtype == np.uint8
    np.testing.assert_array_equal(mask[:], expected)
    ome: Any = label.attrs["ome"]
    datasets = ome["multiscales"][0]["datasets"]
    assert len(datasets) == 5  # as many as the image has, as the specification demands
    for level, dataset in enumerate(datasets):
        edge = 8 * 2**level
        placed = pixel_of(dataset["coordinateTransformations"], level0_mpp=0.5)
        assert placed == (edge, (edge - 1) / 2)
        shape = tuple(-(-n // 2**level) for n in (163, 188))
        assert label[dataset["path"]].shape == shape  # type: ignore[union-attr]
    assert ome["image-label"]["source"] == {"image": "../../"}
    assert ome["image-label"]["properties"] == [{"label-value": 1, "name": "tissue"}]
    assert label.attrs["raypath"] == {"flags": ["pen_marks"]}


def test_a_coarse_pixel_of_the_label_is_tissue_when_half_of_it_is(
    array_slide: Callable[[Pixels], Slide], tmp_path: Path
) -> None:
    mask = np.array([[1, 1, 1, 0, 1], [0, 0, 0, 0, 1], [1, 1, 0, 0, 0]], np.bool_)
    slide = array_slide(np.zeros((150, 250, 3), np.uint8))
    write(slide, tmp_path / "image", Tissue(mask=mask, downsample=50.0))
    label: Any = zarr.open_group(tmp_path / "image" / "labels" / "tissue", mode="r")
    np.testing.assert_array_equal(label["0"][:], mask)
    np.testing.assert_array_equal(label["1"][:], [[1, 0, 1], [1, 0, 0]])


def test_the_group_says_where_it_comes_from(written: Path) -> None:
    said: Any = zarr.open_group(written, mode="r").attrs["raypath"]
    assert (said["level0_mpp"], said["mpp_source"]) == (0.5, "vendor property")
    assert (said["vendor"], said["reader"]) == ("aperio", "jpeg")
    assert set(said["associated_images"]) == {"label", "macro", "thumbnail"}


@pytest.mark.parametrize("damaged", [(8,), (0, 35), (14, 15, 20)])
def test_what_did_not_decode_is_said_and_black(
    synthetic: Any,
    damage_tile: Callable[[Path, int], Path],
    tmp_path: Path,
    damaged: tuple[int, ...],
) -> None:
    """Tiles of the slide are 256 pixels, six to a row: each lies under 4 x 4 chunks."""
    bad = synthetic.path
    valid = np.ones((21, 24), np.bool_)
    expected = np.asarray(openslide.OpenSlide(bad).read_region((0, 0), 0, (1500, 1301)))[..., :3]
    expected = expected.copy()
    for index in damaged:
        bad = damage_tile(bad, index)
        row, column = divmod(index, 6)
        valid[row * 4 : row * 4 + 4, column * 4 : column * 4 + 4] = False
        expected[row * 256 : row * 256 + 256, column * 256 : column * 256 + 256] = 0
    path = tmp_path / "image.ome.zarr"
    with open_slide(bad) as slide:
        record = write(slide, path)
    group = zarr.open_group(path, mode="r")
    validity: Any = group["validity/0"]
    assert validity.dtype == np.bool_
    assert validity.attrs["chunk_px"] == CHUNK
    np.testing.assert_array_equal(validity[:], valid)
    assert record.invalid_tiles == (~valid).sum()
    levels = levels_of(path)
    np.testing.assert_array_equal(levels[0].transpose(1, 2, 0), expected)
    np.testing.assert_array_equal(levels[1], halved(levels[0]))


def test_a_chunk_that_is_damaged_in_part_is_invalid_as_a_whole(
    synthetic: Any,
    damage_tile: Callable[[Path, int], Path],
    tmp_path: Path,
) -> None:
    options = PyramidOptions(chunk_px=384, block_px=768)
    path = tmp_path / "image.ome.zarr"
    with open_slide(damage_tile(synthetic.path, 8)) as slide:  # x 512-768, y 256-512
        write(slide, path, options=options)
    validity: Any = zarr.open_group(path, mode="r")["validity/0"]
    assert (~validity[:]).nonzero()[0].tolist() == [0, 1]
    assert (~validity[:]).nonzero()[1].tolist() == [1, 1]
    level = levels_of(path)[0]
    assert not level[:, :768, 384:768].any()


def test_what_exists_is_not_written_over(synthetic: Any, tmp_path: Path) -> None:
    path = tmp_path / "image.ome.zarr"
    path.mkdir()
    with open_slide(synthetic.path) as slide, pytest.raises(FileExistsError, match=str(path)):
        write(slide, path)
    assert not list(path.iterdir())


def test_a_small_slide_has_one_level_under_the_real_sizes(
    array_slide: Callable[[Pixels], Slide], tmp_path: Path
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (300, 512, 3), dtype=np.uint8)
    record = write(array_slide(pixels), tmp_path / "image.ome.zarr", options=PyramidOptions())
    assert record.level_shapes == ((300, 512),)
    v05.Image.from_zarr(zarr.open_group(tmp_path / "image.ome.zarr", mode="r"))
    np.testing.assert_array_equal(
        levels_of(tmp_path / "image.ome.zarr")[0], pixels.transpose(2, 0, 1)
    )
