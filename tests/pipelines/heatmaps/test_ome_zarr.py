"""`heatmap.ome.zarr`: valid for others, the same for us, and on the tissue it is about."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from ome_zarr_models import v05

from pipelines.heatmaps.channels import ATTENTION, ATTENTION_PERCENTILE, score_channel
from pipelines.heatmaps.looked import LOOKED, NAMES, reasons
from pipelines.heatmaps.ome_zarr import Heatmap, make_heatmap, read_heatmap, write_heatmap
from wsi.atomic import digest
from wsi.tilestore import LeftOut, TileTable

CHANNELS = (score_channel("tumour"), ATTENTION, ATTENTION_PERCENTILE)


def table(
    coords: NDArray[np.int64],
    dimensions: tuple[int, int],
    *,
    tile_px: int = 64,
    stride_px: int = 64,
    mpp: float = 0.5,
    level0_mpp: float = 0.25,
) -> TileTable:
    attributes = {
        "patch_size": tile_px,
        "stride": stride_px,
        "mpp": mpp,
        "level0_mpp": level0_mpp,
        "level0_width": dimensions[0],
        "level0_height": dimensions[1],
    }
    return TileTable(
        coords=coords,
        embeddings=np.zeros((len(coords), 1), np.float32),
        invalid=np.zeros((0, 2), np.int64),
        attributes=attributes,
    )


def grid(columns: int, rows: int, stride: float) -> NDArray[np.int64]:
    y, x = np.mgrid[0:rows, 0:columns]
    return np.rint(np.stack([x.ravel(), y.ravel()], axis=1) * stride).astype(np.int64)


@pytest.fixture
def heatmap() -> Heatmap:
    values = np.random.default_rng(0).normal(size=(3, 5, 7)).astype(np.float32)
    values[:, 2, 3] = np.nan
    return Heatmap(
        values=values,
        channels=CHANNELS,
        cell_level0_px=99.5,
        dimensions=(690, 480),
        level0_mpp=0.2527,
    )


def transforms(path: Path) -> dict[str, list[float]]:
    """Scale and translation of the only level, as another reader takes them."""
    image = v05.Image.from_zarr(zarr.open_group(path, mode="r"))
    (multiscale,) = image.attributes.ome.multiscales
    (dataset,) = multiscale.datasets
    scale, translation = (t.model_dump() for t in dataset.coordinateTransformations)
    return {"scale": scale["scale"], "translation": translation["translation"]}


def test_a_heatmap_comes_back_as_it_was(tmp_path: Path, heatmap: Heatmap) -> None:
    write_heatmap(tmp_path / "h.ome.zarr", heatmap, name="s1")
    back = read_heatmap(tmp_path / "h.ome.zarr")
    np.testing.assert_array_equal(back.values, heatmap.values)
    assert back.values.dtype == np.float32
    assert back.channels == heatmap.channels
    assert back.cell_level0_px == heatmap.cell_level0_px
    assert back.dimensions == heatmap.dimensions
    assert back.level0_mpp == heatmap.level0_mpp


def test_it_is_a_valid_ome_zarr_of_version_0_5(tmp_path: Path, heatmap: Heatmap) -> None:
    path = tmp_path / "h.ome.zarr"
    write_heatmap(path, heatmap, name="s1")
    image = v05.Image.from_zarr(zarr.open_group(path, mode="r"))
    (multiscale,) = image.attributes.ome.multiscales
    assert multiscale.name == "s1"
    assert [axis.name for axis in multiscale.axes] == ["c", "y", "x"]
    assert [axis.unit for axis in multiscale.axes] == [None, "micrometer", "micrometer"]
    array = zarr.open_array(path / "0", mode="r")
    assert array.metadata.zarr_format == 3
    assert array.metadata.dimension_names == ("c", "y", "x")
    assert np.isnan(array.fill_value)
    ome: Any = zarr.open_group(path, mode="r").attrs["ome"]
    assert ome["version"] == "0.5"
    labels = [channel["label"] for channel in ome["omero"]["channels"]]
    assert labels == [channel.name for channel in CHANNELS]
    for channel in ome["omero"]["channels"]:
        assert channel["window"]["start"] < channel["window"]["end"]


def test_where_the_model_looked_is_a_label_image_of_its_own_frame(
    tmp_path: Path, heatmap: Heatmap
) -> None:
    looked = np.random.default_rng(1).integers(0, len(NAMES), (5, 7), np.uint8)
    for name in ("first", "again"):
        write_heatmap(tmp_path / name, replace(heatmap, looked=looked), name="s1")
    assert digest(tmp_path / "first") == digest(tmp_path / "again")
    back = read_heatmap(tmp_path / "first")
    assert back.looked is not None
    np.testing.assert_array_equal(back.looked, looked)
    group = zarr.open_group(tmp_path / "first", mode="r")
    assert v05.Labels.from_zarr(group["labels"]).attributes.ome.labels == ["looked"]  # type: ignore[arg-type]
    said = v05.ImageLabel.from_zarr(group["labels/looked"]).attributes.ome  # type: ignore[arg-type]
    assert said.image_label.source.image == "../../"
    assert {c.label_value for c in said.image_label.colors} == set(NAMES)
    stored: Any = group["labels/looked"].attrs["ome"]
    names = {p["label-value"]: p["name"] for p in stored["image-label"]["properties"]}
    assert names == NAMES
    label, image = (
        transforms(tmp_path / "first" / "labels" / "looked"),
        transforms(tmp_path / "first"),
    )
    assert {kind: [1.0 if kind == "scale" else 0.0, *v] for kind, v in label.items()} == image


def test_a_heatmap_without_labels_is_read_as_one(tmp_path: Path, heatmap: Heatmap) -> None:
    write_heatmap(tmp_path / "h", heatmap, name="s1")
    assert not (tmp_path / "h" / "labels").exists()
    assert read_heatmap(tmp_path / "h").looked is None


def test_every_cell_without_a_value_has_its_reason() -> None:
    left_out = LeftOut(
        coords=np.array([[128, 0], [256, 0], [0, 128], [128, 128]]),
        quality=np.zeros((4, 4), np.float32),
        reason=np.arange(4).astype(np.int8),
    )
    tiles = table(np.array([[0, 0]]), (512, 256))
    tiles = replace(tiles, left_out=left_out, invalid=np.array([[256, 128]]))
    made = make_heatmap(np.ones((1, 1)), CHANNELS[:1], tiles)
    assert made.looked is not None
    assert [[NAMES[label] for label in row] for row in made.looked.tolist()] == [
        ["looked at", "pen ink", "too dark", "no tile with enough tissue"],
        ["blank", "blurred", "unreadable", "no tile with enough tissue"],
    ]
    assert reasons(made.looked) == [name for name in NAMES.values() if name != "looked at"]


def test_of_overlapping_tiles_one_that_was_looked_at_goes_first() -> None:
    left_out = LeftOut(
        coords=np.array([[64, 0], [192, 0]]),
        quality=np.zeros((2, 4), np.float32),
        reason=np.array([3, 0], np.int8),
    )
    tiles = table(np.array([[0, 0]]), (384, 64), stride_px=32)
    tiles = replace(tiles, left_out=left_out, invalid=np.array([[128, 0], [256, 0]]))
    made = make_heatmap(np.ones((1, 1)), CHANNELS[:1], tiles)
    assert made.looked is not None
    assert made.looked.tolist() == [[1, 1, 5, 2, 2, 6]]
    np.testing.assert_array_equal(made.looked == LOOKED, np.isfinite(made.values[0]))


def test_a_heatmap_is_never_written_over_another(tmp_path: Path, heatmap: Heatmap) -> None:
    write_heatmap(tmp_path / "h", heatmap, name="s1")
    with pytest.raises(zarr.errors.ContainsGroupError):
        write_heatmap(tmp_path / "h", heatmap, name="s1")


@pytest.mark.parametrize("level0_mpp", [0.25, 0.2527])
@pytest.mark.parametrize("size_px", [64, 50])
def test_cells_lie_on_the_centres_of_their_tiles(
    tmp_path: Path, level0_mpp: float, size_px: int
) -> None:
    """In µm from the centre of level-0 pixel (0, 0), the origin of the image's own frame."""
    edge = size_px * 0.5 / level0_mpp  # level-0 pixels, not whole ones
    coords = grid(6, 4, edge)
    dimensions = (int(6 * edge), int(4 * edge))
    tiles = table(coords, dimensions, tile_px=size_px, stride_px=size_px, level0_mpp=level0_mpp)
    values = np.arange(24.0)[:, None]
    write_heatmap(tmp_path / "h", make_heatmap(values, CHANNELS[:1], tiles), name="x")
    stored = np.asarray(zarr.open_array(tmp_path / "h" / "0", mode="r")[0])
    assert stored.shape == (4, 6)
    placed = transforms(tmp_path / "h")
    for number, (x, y) in enumerate(coords.tolist()):
        ((row, column),) = np.argwhere(stored == number)
        for index, corner, axis in ((column, x, 2), (row, y, 1)):
            cell_um = index * placed["scale"][axis] + placed["translation"][axis]
            tile_um = (corner + (edge - 1) / 2) * level0_mpp
            assert abs(cell_um - tile_um) <= 0.5 * level0_mpp + 1e-9  # corners are rounded


@given(
    columns=st.integers(1, 8),
    rows=st.integers(1, 8),
    seed=st.integers(0, 1000),
    shape=st.sampled_from([(64, 64), (64, 32), (64, 48), (50, 50), (60, 20)]),
    level0_mpp=st.sampled_from([0.25, 0.5, 0.2527]),
)
def test_a_cell_averages_the_tiles_over_its_centre(
    columns: int, rows: int, seed: int, shape: tuple[int, int], level0_mpp: float
) -> None:
    tile_px, stride_px = shape
    stride = stride_px * 0.5 / level0_mpp
    edge = tile_px * 0.5 / level0_mpp
    generator = np.random.default_rng(seed)
    coords = grid(columns, rows, stride)
    coords = coords[generator.random(len(coords)) < 0.7]
    values = generator.normal(size=(len(coords), 2))
    dimensions = (int((columns - 1) * stride + edge), int((rows - 1) * stride + edge))
    tiles = table(coords, dimensions, tile_px=tile_px, stride_px=stride_px, level0_mpp=level0_mpp)
    made = make_heatmap(values, CHANNELS[:2], tiles)
    assert made.cell_level0_px == pytest.approx(stride)
    for row, column in np.ndindex(*made.values.shape[1:]):
        x, y = (column + 0.5) * stride, (row + 0.5) * stride
        over = (
            (coords[:, 0] <= x)
            & (x < coords[:, 0] + edge)
            & (coords[:, 1] <= y)
            & (y < coords[:, 1] + edge)
        )
        expected = values[over].mean(axis=0) if over.any() else np.full(2, np.nan)
        np.testing.assert_allclose(made.values[:, row, column], expected, rtol=1e-4, atol=1e-5)


def test_where_no_tile_was_it_says_nothing() -> None:
    tiles = table(np.array([[0, 0], [256, 128]]), (384, 256))
    made = make_heatmap(np.array([[1.0], [2.0]]), CHANNELS[:1], tiles)
    expected = np.full((1, 2, 3), np.nan)
    expected[0, 0, 0], expected[0, 1, 2] = 1, 2
    np.testing.assert_array_equal(made.values, expected)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_tile_without_a_value_is_not_drawn_as_one(value: float) -> None:
    with pytest.raises(ValueError, match="must be finite"):
        make_heatmap(np.array([[value]]), CHANNELS[:1], table(np.array([[0, 0]]), (128, 128)))
