"""The whole chain, from made-up slides to heatmaps, on Ray."""

import json
from pathlib import Path
from typing import Any

import pytest

from distill.card import read_card
from pipelines.demo.demo import DemoSettings, run_demo
from pipelines.errors import UsageError
from pipelines.records import read_records

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


class Ending:
    """An executor with whose first task the demo ends."""

    workers, memory_bytes = 1, None

    def map(self, *args: Any, **options: Any) -> Any:
        raise InterruptedError


def begin(folder: Path) -> None:
    """Run a demo as far as its first slide."""
    run_demo(folder, DemoSettings(patients=8), Ending(), say=lambda _: None)


def test_a_project_with_a_folder_of_slides_is_no_demo(tmp_path: Path) -> None:
    kept = tmp_path / "slides" / "manifest.csv"
    kept.parent.mkdir()
    kept.write_text("path\nmine.svs\n")
    with pytest.raises(UsageError, match=r"no demo\.json.*--out"):
        begin(tmp_path)
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == [kept]
    assert kept.read_text() == "path\nmine.svs\n"


def test_a_demo_that_was_killed_is_run_again_in_its_folder(tmp_path: Path) -> None:
    for _ in range(2):
        with pytest.raises(InterruptedError):
            begin(tmp_path / "demo")
