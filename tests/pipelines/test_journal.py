"""`records.jsonl`: what is in it survives a kill, and comes back in the cohort's order."""

import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from pipelines.errors import DamagedError
from pipelines.journal import JOURNAL_NAME, Journal, read_journal, records_in_order
from pipelines.records import SlideRecord

ROOT = Path(__file__).parents[2]


def record(slide_id: str) -> SlideRecord:
    return SlideRecord(
        slide_id=slide_id,
        path=f"/slides/{slide_id}.svs",
        verdict="ok",
        flags=("pen_marks",),
        n_tiles=7,
        score=0.25,
        seconds={"embed": 1.5},
        reused=("tissue", "pyramid"),
    )


def write(path: Path, slide_ids: Iterable[str]) -> None:
    with Journal(path) as journal:
        for slide_id in slide_ids:
            journal.append(record(slide_id))


def test_records_come_back_as_they_were_in_the_order_asked_for(tmp_path: Path) -> None:
    path = tmp_path / JOURNAL_NAME
    write(path, "cab")
    assert [read for read, _ in read_journal(path)] == [record(i) for i in "cab"]
    assert list(records_in_order(path, "abc")) == [record(i) for i in "abc"]


def test_a_path_that_is_no_text_comes_back(tmp_path: Path) -> None:
    name = b"donn\xe9es".decode("utf-8", "surrogateescape")
    write(tmp_path / JOURNAL_NAME, [name])
    ((back, _),) = read_journal(tmp_path / JOURNAL_NAME)
    assert back == record(name)


@pytest.mark.parametrize("kept", [0, 1, -2, -1])
def test_a_half_written_line_is_left_out_and_read_once_it_is_whole(
    tmp_path: Path, kept: int
) -> None:
    path = tmp_path / JOURNAL_NAME
    write(path, "ab")
    whole = path.read_bytes()
    second = whole.index(b"\n") + 1
    path.write_bytes(whole[:second] + whole[second:][:kept])
    ((first, end),) = read_journal(path)
    assert (first, end) == (record("a"), second)
    path.write_bytes(whole)
    assert list(read_journal(path, start=end)) == [(record("b"), len(whole))]


@pytest.mark.parametrize(
    "line", [b"\0" * 200, b"\xff\xfe", b"{", b"", b"7", b"{}", b'{"flags": [], "reused": []}']
)
def test_what_a_lost_power_leaves_is_named_with_its_place(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / JOURNAL_NAME
    write(path, "ab")
    first, second = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(first + line + b"\n" + second)
    reading = read_journal(path)
    assert next(reading)[0] == record("a")
    message = rf"{path} is damaged \(the line at byte {len(first)}: .*again"
    with pytest.raises(DamagedError, match=message):
        next(reading)
    with pytest.raises(DamagedError, match=message):
        list(records_in_order(path, "ab"))


def test_no_file_is_an_empty_one_and_a_new_journal_forgets_the_old(tmp_path: Path) -> None:
    path = tmp_path / JOURNAL_NAME
    assert list(read_journal(path)) == []
    write(path, "ab")
    write(path, "c")
    assert [read.slide_id for read, _ in read_journal(path)] == ["c"]


def test_a_slide_without_a_record_is_no_silent_gap(tmp_path: Path) -> None:
    write(tmp_path / JOURNAL_NAME, "a")
    with pytest.raises(KeyError, match="b"):
        list(records_in_order(tmp_path / JOURNAL_NAME, "ab"))


def test_what_was_appended_is_there_after_a_sigkill(tmp_path: Path) -> None:
    path = tmp_path / JOURNAL_NAME
    code = (
        "import os, signal, sys; from pathlib import Path\n"
        "from pipelines.journal import Journal; from pipelines.records import SlideRecord\n"
        "journal = Journal(Path(sys.argv[1]))\n"
        "journal.append(SlideRecord(slide_id='a', path='a.svs', verdict='ok'))\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(path)], cwd=ROOT, check=False)
    ((back, _),) = read_journal(path)
    assert back.slide_id == "a"
