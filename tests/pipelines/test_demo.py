"""tests/pipelines/test_demo.py — the whole chain, from made-up slides to heatmaps, on Ray."""

import json
from pathlib import Path
from typing import Any

import pytest

from distill.card import read_card
from pipelines.demo.alignment import measure_alignment
from pipelines.records import read_records
from wsi.plan import TileSpec

FILES = {
    "heatmap.geojson",
    "heatmap.ome.zarr",
    "heatmap.png",
    "image.ome.zarr",
    "prediction.json",
    "preview",
    "receipt.json",
    "tiles.h5",
    "tissue.geojson",
}


def test_the_demo_ends_well_and_says_where_to_look(demo: Any) -> None:
    assert demo.said.code == 0, demo.said.err
    assert "8 / 0 / 0" in demo.said.out
    assert "95 % CI" in demo.said.out
    assert "raypath view" in demo.said.out
    assert f"--model {demo.model}" in demo.said.out


def test_it_leaves_every_file_of_a_run(demo: Any) -> None:
    out = demo.folder / "out"
    assert {p.name for p in out.iterdir()} == {
        "progress.json",
        "receipt.json",
        "records.jsonl",
        "run.json",
        "slides.parquet",
        "report.html",
        "slides",
    }
    folders = list((out / "slides").iterdir())
    assert len(folders) == 8
    assert all({p.name for p in folder.iterdir()} == FILES for folder in folders)


def test_its_second_run_reuses_what_the_first_one_made(demo: Any) -> None:
    records = read_records(demo.folder / "out" / "slides.parquet")
    assert {record.reused for record in records} == {("tissue", "pyramid", "embed")}
    assert {record.verdict for record in records} == {"ok"}
    assert all(record.n_tiles and record.score is not None for record in records)


def test_the_model_says_what_it_was_trained_on(demo: Any) -> None:
    card = read_card(demo.model)
    assert "made-up" in card.training.data
    assert card.head is not None
    assert card.head.classes == ("normal", "tumour")
    assert card.head.operating_point.chosen_on == "2 tuning slides"


def test_the_numbers_are_kept_for_programs(demo: Any) -> None:
    numbers = json.loads((demo.folder / "demo.json").read_text())
    assert numbers["counts"] == {"ok": 8, "partial": 0, "failed": 0}
    assert numbers["alignment"]["heatmap_px"] < 0.01
    assert 0 <= numbers["auroc"]["low"] <= numbers["auroc"]["value"] <= numbers["auroc"]["high"]


def test_a_folder_that_is_no_demo_is_left_alone(raypath: Any, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("all my work")
    said = raypath("demo", "--small", "--out", tmp_path)
    assert said.code == 2
    assert "not empty" in said.err
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize(
    ("size_px", "mpp", "stride_px", "tolerance"),
    [
        (224, 0.5, None, 0.01),  # whole steps of the ramp: exact
        (128, 0.5, 64, 32.01),  # overlapping: half a stride where one tile covers the border
        (224, 1.0, None, 2.5),  # resampled by two: uint8 rounding of the ramp, no shift
        (200, 0.733, None, 5.0),  # by a fraction, and not a whole number of ramp steps
    ],
)
def test_heatmap_and_pyramid_lie_where_the_slide_is(
    tmp_path: Path, size_px: int, mpp: float, stride_px: int | None, tolerance: float
) -> None:
    spec = TileSpec(size_px=size_px, mpp=mpp)
    alignment = measure_alignment(tmp_path, spec=spec, stride_px=stride_px)
    assert alignment.heatmap_px < tolerance
    assert alignment.image_px < 0.01
