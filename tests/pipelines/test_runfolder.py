"""A run's folder is read at every moment of the run."""

import math
import shutil
from pathlib import Path
from typing import Any

import pytest

from pipelines.journal import JOURNAL_NAME, Journal
from pipelines.records import SlideRecord, write_records
from pipelines.runfolder import UNFINISHED, RunFolder, read_json, read_run
from pipelines.viewer.library import Library, UnknownSlideError


@pytest.fixture
def under_way(made_run: Any, tmp_path: Path) -> Path:
    """The run before its verdicts: one slide done, one begun, one half-written."""
    slides = tmp_path / "slides"
    shutil.copytree(made_run.path / "slides" / made_run.positive, slides / made_run.positive)
    (slides / "begun").mkdir()
    (slides / ".tmp-1234-x").mkdir()
    return tmp_path


def test_an_unfinished_run_lists_its_folders(under_way: Path) -> None:
    run = read_run(under_way)
    assert not run.is_finished
    assert [record.slide_id for record in run.records] == ["begun", "positive"]
    assert {record.verdict for record in run.records} == {UNFINISHED}
    assert [record.prediction for record in run.records] == [None, "tumour"]
    assert run.records[1].score == pytest.approx(0.91)
    assert run.counts["ok"] == 0


def test_the_journal_of_an_unfinished_run_is_listed_before_what_it_works_on(
    under_way: Path,
) -> None:
    done = SlideRecord(slide_id="positive", path="p.svs", verdict="partial", score=math.nan)
    gone = SlideRecord(slide_id="gone", path="g.svs", verdict="failed", reason="not_found")
    with Journal(under_way / JOURNAL_NAME) as journal:
        journal.append(gone)
        journal.append(done)
    run = read_run(under_way)
    assert not run.is_finished
    assert [(r.slide_id, r.verdict) for r in run.records] == [
        ("gone", "failed"),
        ("positive", "partial"),
        ("begun", UNFINISHED),
    ]
    assert run.records[1].score is None


def test_the_library_follows_the_run(under_way: Path) -> None:
    library = Library(under_way)
    assert not library.listing()["is_finished"]
    record = SlideRecord(slide_id="positive", path="p.svs", verdict="ok")
    write_records(under_way / "slides.parquet", [record])
    listing = library.listing()
    assert listing["is_finished"]
    assert [slide["slide_id"] for slide in listing["slides"]] == ["positive"]
    with pytest.raises(UnknownSlideError):
        library.folder("begun")  # there is a folder, but the run does not list it
    assert library.pyramid("positive") is library.pyramid("positive")


@pytest.mark.parametrize("slide_id", ["..", ".", "", "../x", "a/b", "a\\b", "a\0b"])
def test_an_id_that_is_no_name_has_no_folder(tmp_path: Path, slide_id: str) -> None:
    (tmp_path / "run" / "slides" / "a" / "b").mkdir(parents=True)
    (tmp_path / "run" / "x").mkdir()
    run = RunFolder(path=tmp_path / "run", info={}, records=(), is_finished=True)
    assert run.slide_folder(slide_id) is None


@pytest.mark.parametrize("text", ["", "{", "[1]", "\udcff".encode("utf-8", "surrogateescape")])
def test_a_torn_json_reads_as_empty(tmp_path: Path, text: str | bytes) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    assert read_json(path) == {}


def test_nan_reads_as_none(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text('{"a": NaN, "b": -Infinity, "c": 1}')
    assert read_json(path) == {"a": None, "b": None, "c": 1}
