"""`heatmap.geojson` as QuPath takes it: squares where the tiles are, with their values."""

import json
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipelines.heatmaps.channels import ATTENTION, score_channel
from pipelines.heatmaps.geojson import write_geojson
from wsi.tilestore import TileTable

CHANNELS = (score_channel("tumour"), ATTENTION)


def table(
    coords: list[tuple[int, int]],
    dimensions: tuple[int, int] = (1000, 800),
    *,
    tile_px: int = 64,
    stride_px: int = 64,
    level0_mpp: float = 0.25,
    bounds: tuple[int, int] = (0, 0),
) -> TileTable:
    attributes = {
        "patch_size": tile_px,
        "stride": stride_px,
        "mpp": 0.5,
        "level0_mpp": level0_mpp,
        "level0_width": dimensions[0],
        "level0_height": dimensions[1],
        "bounds_x": bounds[0],
        "bounds_y": bounds[1],
    }
    return TileTable(
        coords=np.array(coords, np.int64).reshape(-1, 2),
        embeddings=np.zeros((len(coords), 1), np.float32),
        invalid=np.zeros((0, 2), np.int64),
        attributes=attributes,
    )


def written(
    path: Path, tiles: TileTable, values: NDArray[np.floating] | None = None, slide_id: str = "s1"
) -> list[dict[str, Any]]:
    """The features; what is no strict JSON fails."""
    if values is None:
        values = np.zeros((len(tiles.coords), 2))
    write_geojson(path, tiles, values, CHANNELS, slide_id=slide_id)

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    collection = json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)
    assert collection["type"] == "FeatureCollection"
    features: list[dict[str, Any]] = collection["features"]
    return features


def box(feature: dict[str, Any]) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of a feature, whose ring must be a valid rectangle."""
    assert feature["geometry"]["type"] == "Polygon"
    (ring,) = feature["geometry"]["coordinates"]
    assert len(ring) == 5
    assert ring[0] == ring[-1]
    x, y = np.array(ring).T
    area = (x[:-1] * y[1:] - x[1:] * y[:-1]).sum() / 2
    assert area > 0  # right-handed, as RFC 7946 wants an outer ring
    assert area == pytest.approx((x.max() - x.min()) * (y.max() - y.min()))
    return x.min(), y.min(), x.max(), y.max()


def test_a_square_lies_on_its_tile(tmp_path: Path) -> None:
    features = written(tmp_path / "x", table([(0, 0), (128, 256)]))
    assert [box(feature) for feature in features] == [(0, 0, 128, 128), (128, 256, 256, 384)]


def test_features_are_what_qupath_reads(tmp_path: Path) -> None:
    values = np.array([[np.log(0.123456789 / 0.876543211), 2.5]])
    (feature,) = written(tmp_path / "x", table([(0, 0)]), values)
    assert feature["type"] == "Feature"
    assert feature["properties"] == {
        "objectType": "tile",
        "measurements": {CHANNELS[0].title: 0.123457, CHANNELS[1].title: 2.5},
    }


def test_ids_are_uuids_that_stay(tmp_path: Path) -> None:
    tiles = table([(0, 0), (128, 0), (256, 0)])
    first, again, other = (
        [feature["id"] for feature in written(tmp_path / "x", tiles, slide_id=slide_id)]
        for slide_id in ("s1", "s1", "s2")
    )
    assert all(str(uuid.UUID(text)) == text for text in first)
    assert first == again
    assert len({*first, *other}) == 6


def test_squares_end_at_the_edge_of_the_slide(tmp_path: Path) -> None:
    features = written(tmp_path / "x", table([(896, 0), (0, 768), (896, 768)]))
    assert [box(feature) for feature in features] == [
        (896, 0, 1000, 128),
        (0, 768, 128, 800),
        (896, 768, 1000, 800),
    ]


def test_places_count_from_the_corner_of_the_scanned_area(tmp_path: Path) -> None:
    tiles = table([(512, 256), (896, 768)], bounds=(500, 200))
    features = written(tmp_path / "x", tiles)
    assert [box(feature) for feature in features] == [(12, 56, 140, 184), (396, 568, 500, 600)]


def test_with_overlap_squares_lie_side_by_side_around_the_centres(tmp_path: Path) -> None:
    tiles = table([(0, 0), (32, 0), (64, 0), (0, 32)], stride_px=16)
    boxes = [box(feature) for feature in written(tmp_path / "x", tiles)]
    assert boxes == [(48, 48, 80, 80), (80, 48, 112, 80), (112, 48, 144, 80), (48, 80, 80, 112)]


@given(
    columns=st.integers(1, 6),
    rows=st.integers(1, 6),
    shape=st.sampled_from([(64, 64), (64, 32), (50, 50), (60, 20)]),
    level0_mpp=st.sampled_from([0.25, 0.5, 0.2527]),
    short=st.floats(0, 0.7),
)
def test_squares_of_a_grid_never_overlap_nor_leave_the_slide(
    tmp_path_factory: pytest.TempPathFactory,
    columns: int,
    rows: int,
    shape: tuple[int, int],
    level0_mpp: float,
    short: float,
) -> None:
    """`short` is how much of the last tiles' last stride lies outside the slide."""
    tile_px, stride_px = shape
    edge, stride = tile_px * 0.5 / level0_mpp, stride_px * 0.5 / level0_mpp
    width, height = (int((n - 1 - short) * stride + edge) for n in (columns, rows))
    coords = [(round(c * stride), round(r * stride)) for r in range(rows) for c in range(columns)]
    tiles = table(
        coords, (width, height), tile_px=tile_px, stride_px=stride_px, level0_mpp=level0_mpp
    )
    features = written(tmp_path_factory.mktemp("geojson") / "x", tiles)
    boxes = np.array([box(feature) for feature in features])
    assert (boxes >= 0).all()
    assert (boxes[:, 2] <= width).all()
    assert (boxes[:, 3] <= height).all()
    for one, other in zip(*np.triu_indices(len(boxes), 1), strict=True):
        across = np.minimum(boxes[one, 2:], boxes[other, 2:])
        across -= np.maximum(boxes[one, :2], boxes[other, :2])
        assert across.min() <= 1  # corners of tiles are rounded to whole pixels


def test_no_tiles_no_features(tmp_path: Path) -> None:
    assert written(tmp_path / "x", table([]), np.zeros((0, 2))) == []


def test_a_value_for_every_channel_of_every_tile(tmp_path: Path) -> None:
    for values in (np.zeros((1, 2)), np.zeros((2, 1))):
        with pytest.raises(ValueError, match="zip"):
            written(tmp_path / "x", table([(0, 0), (128, 0)]), values)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_no_file_that_is_no_json(tmp_path: Path, value: float) -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_geojson(
            tmp_path / "x", table([(0, 0)]), np.array([[0, value]]), CHANNELS, slide_id="s1"
        )
    assert list(tmp_path.iterdir()) == []
