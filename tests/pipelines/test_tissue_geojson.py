"""`tissue.geojson` out and in: the mask comes back, and what is no tissue is refused by name."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pytest

from pipelines.tissue_geojson import is_edited, read_tissue, write_tissue
from wsi.errors import MaskError
from wsi.tissue import Tissue

MASK = np.zeros((50, 60), np.bool_)
MASK[10:30, 10:40] = True
MASK[15:20, 20:25] = False
MASK[40:45, 50:60] = True
TISSUE = Tissue(mask=MASK, downsample=16.0)
SLIDE: dict[str, Any] = {"dimensions": (950, 800), "shape": (50, 60), "downsample": 16.0}


@pytest.fixture
def written(tmp_path: Path) -> Path:
    path = tmp_path / "tissue.geojson"
    write_tissue(path, TISSUE, slide_id="s1", origin=(0, 0))
    return path


def square(left: float, top: float, edge: float = 320, **properties: Any) -> dict[str, Any]:
    right, bottom = left + edge, top + edge
    ring = [[left, top], [right, top], [right, bottom], [left, bottom], [left, top]]
    geometry = {"type": "Polygon", "coordinates": [ring]}
    return {"type": "Feature", "geometry": geometry, "properties": properties}


def classed(name: str) -> dict[str, Any]:
    return {"objectType": "annotation", "classification": {"name": name}}


def read(tmp_path: Path, *features: Any, origin: tuple[int, int] = (0, 0)) -> Tissue:
    path = tmp_path / "mask.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return read_tissue(path, origin=origin, **SLIDE)


def test_it_comes_back_to_the_pixel(written: Path) -> None:
    tissue = read_tissue(written, origin=(0, 0), **SLIDE)
    np.testing.assert_array_equal(tissue.mask, MASK)
    assert (tissue.downsample, tissue.flags) == (16.0, ())


def test_a_piece_is_an_annotation_for_qupath(written: Path) -> None:
    features = json.loads(written.read_text())["features"]
    assert [len(f["geometry"]["coordinates"]) for f in features] == [2, 1]
    for feature in features:
        UUID(feature["id"])
        assert feature["properties"] == {
            "objectType": "annotation",
            "classification": {"name": "Tissue", "color": [0, 158, 115]},
            "isLocked": False,
        }


def test_the_same_tissue_gives_the_same_bytes(written: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.geojson"
    write_tissue(again, TISSUE, slide_id="s1", origin=(0, 0))
    assert again.read_bytes() == written.read_bytes()
    write_tissue(again, TISSUE, slide_id="s2", origin=(0, 0))
    assert again.read_bytes() != written.read_bytes()


def test_places_count_from_the_corner_of_the_scanned_area(tmp_path: Path) -> None:
    path = tmp_path / "t.geojson"
    write_tissue(path, TISSUE, slide_id="s1", origin=(100, 50))
    first = np.array(json.loads(path.read_text())["features"][0]["geometry"]["coordinates"][0])
    assert first.min(0).tolist() == [160 - 100, 160 - 50]
    back = read_tissue(path, origin=(100, 50), **SLIDE)
    np.testing.assert_array_equal(back.mask, MASK)


def _unmarked(path: Path) -> None:
    collection = json.loads(path.read_text())
    del collection["raypath"]
    path.write_text(json.dumps(collection))


def _one_vertex_moved(path: Path) -> None:
    collection = json.loads(path.read_text())
    collection["features"][0]["geometry"]["coordinates"][0][1][0] += 0.5
    path.write_text(json.dumps(collection))


def _one_piece_less(path: Path) -> None:
    collection = json.loads(path.read_text())
    collection["features"].pop()
    path.write_text(json.dumps(collection))


def _list_only(path: Path) -> None:
    path.write_text(json.dumps(json.loads(path.read_text())["features"]))


def _broken(path: Path) -> None:
    path.write_text("{")


@pytest.mark.parametrize(
    "edit", [_unmarked, _one_vertex_moved, _one_piece_less, _list_only, _broken]
)
def test_an_edit_is_seen(written: Path, edit: Callable[[Path], None]) -> None:
    assert not is_edited(written, slide_id="s1")
    edit(written)
    assert is_edited(written, slide_id="s1")
    written.unlink()
    assert not is_edited(written, slide_id="s1")


def test_the_outline_of_another_slide_was_put_there_by_a_person(written: Path) -> None:
    assert is_edited(written, slide_id="s2")


def test_other_indentation_is_no_edit(written: Path) -> None:
    written.write_text(json.dumps(json.loads(written.read_text()), indent=2))
    assert not is_edited(written, slide_id="s1")


@pytest.mark.parametrize("name", ["Tissue", "tissue 2", "Region*", None])
def test_what_adds(tmp_path: Path, name: str | None) -> None:
    properties = classed(name) if name else {"objectType": "annotation"}
    tissue = read(tmp_path, square(160, 160, **properties))
    assert tissue.mask.sum() == 20 * 20
    assert tissue.mask[10:30, 10:30].all()


@pytest.mark.parametrize("name", ["Ignore*", "Artifact", "Artefact", "exclude this", "Pen"])
@pytest.mark.parametrize("order", [1, -1])
def test_what_takes_away_does_so_in_any_order(tmp_path: Path, name: str, order: int) -> None:
    features = [square(160, 160, **classed("Tissue")), square(320, 160, **classed(name))]
    tissue = read(tmp_path, *features[::order])
    assert tissue.mask[10:30, 10:20].all()
    assert tissue.mask.sum() == 20 * 10


def test_multipolygons_lists_and_single_features(tmp_path: Path) -> None:
    one, other = square(0, 0, 160), square(320, 320, 160)
    rings = [f["geometry"]["coordinates"] for f in (one, other)]
    both = {"type": "Feature", "geometry": {"type": "MultiPolygon", "coordinates": rings}}
    path = tmp_path / "m.geojson"
    for content in (both, [both], [one, other]):
        path.write_text(json.dumps(content))
        assert read_tissue(path, origin=(0, 0), **SLIDE).mask.sum() == 200


def test_a_crossed_line_is_repaired_and_said(tmp_path: Path) -> None:
    ring = [[0, 0], [320, 320], [320, 0], [0, 320], [0, 0]]
    bowtie = {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [ring]}}
    tissue = read(tmp_path, bowtie)
    assert tissue.flags == ("repaired_mask",)
    assert 180 < tissue.mask.sum() < 220


def geometry(kind: str, coordinates: Any) -> dict[str, Any]:
    return {"type": "Feature", "geometry": {"type": kind, "coordinates": coordinates}}


@pytest.mark.parametrize(
    ("features", "message"),
    [
        ([], "has no features: draw what is tissue"),
        ([geometry("Point", [1, 2])], "feature 1 is a Point"),
        ([square(0, 0), geometry("LineString", [[1, 2], [3, 4]])], "feature 2 is a LineString"),
        ([{"type": "Feature", "geometry": {"type": "GeometryCollection"}}], "GeometryCollection"),
        ([{"type": "Feature", "geometry": None}], "feature 1 is a None"),
        (["tissue"], "feature 1 is a None"),
        ([geometry("Polygon", [[[1, 2], [3]]])], "feature 1 has no proper rings"),
        ([geometry("Polygon", [[[1, 2], [3, 4]]])], "feature 1 has no proper rings"),
        ([geometry("Polygon", [[[0, 0], [1, None], [9, 9], [0, 0]]])], "no finite number"),
        ([geometry("Polygon", None)], "feature 1 has no proper rings"),
        ([geometry("Polygon", [])], "feature 1 has no proper rings"),
        ([square(0, 0, **classed("Tumor"))], "classified 'Tumor', which is neither"),
        ([square(0, 0, objectType="tile")], "is a QuPath tile: export annotations only"),
        ([square(0, 0, **classed("Ignore*"))], "no feature encloses tissue"),
        ([square(2000, 10)], r"outside the slide, at x 2000 to 2320 .* level 0 \(950 x 800\)"),
        ([geometry("Polygon", [[[0, 0], [5, 5], [9, 9], [0, 0]]])], "no feature encloses tissue"),
    ],
)
def test_what_is_no_tissue_is_refused_by_name(
    tmp_path: Path, features: list[Any], message: str
) -> None:
    with pytest.raises(MaskError, match=rf"tissue mask .*mask\.geojson.*{message}"):
        read(tmp_path, *features)


def test_outside_names_the_corner_it_counts_from(tmp_path: Path) -> None:
    with pytest.raises(MaskError, match=r"from the scanned area's corner at \(900, 700\)"):
        read(tmp_path, square(200, 200), origin=(900, 700))


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "No such file"), ("{", "is no JSON"), ("3", "no GeoJSON"), ('{"a": 1}', "no GeoJSON")],
)
def test_a_file_that_is_no_geojson(tmp_path: Path, content: str | None, message: str) -> None:
    path = tmp_path / "mask.geojson"
    if content:
        path.write_text(content)
    with pytest.raises(MaskError, match=message):
        read_tissue(path, origin=(0, 0), **SLIDE)
