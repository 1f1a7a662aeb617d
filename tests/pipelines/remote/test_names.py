"""Names that somebody else put into a bucket lead nowhere but into the folder that is filled."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.records import SlideRecord, write_records
from pipelines.remote.for_report import gather_for_report
from pipelines.remote.local_copy import slide_names
from pipelines.remote.store import fetch_objects, list_folders, list_objects, write_object
from pipelines.remote.task import LAID_OUT, _AtHand
from pipelines.runfolder import UnsafeNameError
from wsi.remote import file_system, slide_path

LEADING_OUT = ["../evil.txt", "x/../../../evil.txt", "/dev/null/evil.txt"]


@pytest.fixture
def slides() -> Iterator[Path]:
    """Where a run in memory has its slides: one, of one object."""
    url = slide_path("memory://names/run/slides")
    write_object(url / "a" / "tiles.h5", b"fine")
    yield url
    file_system(url).rm("/names", recursive=True)


def files_below(folder: Path) -> list[str]:
    return sorted(f.relative_to(folder).as_posix() for f in folder.rglob("*") if f.is_file())


@pytest.mark.parametrize("name", LEADING_OUT)
def test_an_object_whose_name_leads_out_is_refused(slides: Path, tmp_path: Path, name: str) -> None:
    file_system(slides).pipe_file(f"/names/run/slides/a/{name}", b"evil")
    with pytest.raises(UnsafeNameError, match=name):
        list_objects(slides / "a")
    near = tmp_path / "near" / "a" / "b"
    with pytest.raises(UnsafeNameError, match=name):
        fetch_objects(slides / "a", ["tiles.h5", name], near)
    assert files_below(tmp_path / "near") == []


def test_a_folder_whose_name_leads_out_is_refused(slides: Path) -> None:
    assert list_folders(slides) == ["a"]
    file_system(slides).pipe_file("/names/run/slides/../x", b"evil")
    with pytest.raises(UnsafeNameError, match=r"'\.\.'"):
        list_folders(slides)


def test_an_object_between_two_slashes_makes_no_slide(slides: Path) -> None:
    file_system(slides).pipe_file("/names/run/slides//x", b"evil")
    assert "" in list_folders(slides)
    assert slide_names(slides.parent) == ["a"]


def test_names_with_dots_that_lead_nowhere_are_names(slides: Path, tmp_path: Path) -> None:
    names = ["..a/b..", "...", ".partial-x/.laid-out.json"]
    for name in names:
        write_object(slides / "b" / name, b"fine")
    assert sorted(list_objects(slides / "b")) == sorted(names)
    fetch_objects(slides / "b", names, tmp_path / "near")
    assert files_below(tmp_path / "near") == sorted(names)


@pytest.mark.parametrize("name", LEADING_OUT)
def test_a_block_fetches_nothing_by_a_name_that_leads_out(
    slides: Path, tmp_path: Path, name: str
) -> None:
    write_object(slides / "a" / LAID_OUT, json.dumps([name]).encode())
    with pytest.raises(UnsafeNameError, match=name):
        _AtHand().fetch(slides / "a", tmp_path / "near" / "a")
    assert files_below(tmp_path / "near") == []


@pytest.mark.parametrize("slide_id", ["../../other/slides/a", "..", "/tmp", ""])
def test_a_report_takes_no_id_for_a_way(slides: Path, tmp_path: Path, slide_id: str) -> None:
    write_records(
        tmp_path / "slides.parquet", [SlideRecord(slide_id=slide_id, path="x", verdict="ok")]
    )
    with pytest.raises(UnsafeNameError, match=f"slide_id '{slide_id}'"):
        gather_for_report(slides.parent, tmp_path)
