"""A run's folder tells how the run stands, whatever has become of its driver."""

import json
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from pipelines.blockwise.sealed import SealedPlan
from pipelines.cli.status import _shown
from pipelines.cohort.manifest import Entry
from pipelines.errors import DamagedError
from pipelines.job import BlockDone, HandedOut, SlideJob
from pipelines.journal import JOURNAL_NAME, Journal
from pipelines.processes import process_space
from pipelines.records import SlideRecord
from pipelines.runfolder import NotARunError
from pipelines.settings.config import RunConfig
from pipelines.status import progress as progress_module
from pipelines.status.progress import NAMED, Progress
from pipelines.status.progress_file import PROGRESS_NAME, Said, read_said
from pipelines.status.status import RunStatus, RunWatch
from wsi.ref import SlideRef

NOW = 1_000_000.0
DONE = SlideRecord(
    slide_id="a",
    path="a.svs",
    verdict="ok",
    n_tiles=30,
    n_reused_tiles=10,
    seconds={"pyramid": 1.0, "embed": 4.0},
    waited_s=1.0,
    worked_s=3.0,
)
REUSED = replace(
    DONE, slide_id="b", n_reused_tiles=30, seconds={"embed": 0.1}, reused=("embed",), worked_s=0.0
)
LOST = SlideRecord(slide_id="c", path="c.svs", verdict="failed", reason="not_found")


def write_progress(out: Path, **said: Any) -> None:
    known = {
        "state": "running",
        "message": "",
        "host": "elsewhere",
        "pid": 1,
        "beat": NOW - 1,
        "elapsed_s": 10.0,
        "total": 8,
        "n_in_hand": 2,
        "in_hand": ["d", "e"],
        "done_share": 0.6,
        "worked_share": 0.5,
    }
    (out / PROGRESS_NAME).write_text(json.dumps(known | said))


@pytest.fixture
def out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("pipelines.status.life.time.time", lambda: NOW)
    with Journal(tmp_path / JOURNAL_NAME) as journal:
        for record in (DONE, REUSED, LOST):
            journal.append(record)
    return tmp_path


def test_a_run_under_way(out: Path) -> None:
    write_progress(out)
    now = RunWatch(out).look()
    assert now.state == "running"
    assert (now.ok, now.partial, now.failed, now.done) == (2, 0, 1, 3)
    assert (now.running, now.waiting, now.working_on) == (2, 3, ("d", "e"))
    assert now.reasons == {"not_found": 1}
    assert now.tiles_per_s == pytest.approx(20 / 10)  # 30 tiles, 10 of them from an earlier run
    assert now.slides_per_s == pytest.approx(2 / 10)  # `b` was merely found done
    assert now.eta_s == pytest.approx(0.4 * 10 / 0.5)  # bytes left by bytes worked on a second
    assert now.seconds == {"pyramid": 1.0, "embed": 4.1}
    assert now.slowest_step == "embed"
    assert now.waited_share == pytest.approx(2 / 5)


@pytest.mark.parametrize(
    ("said", "state"),
    [
        ({}, "running"),
        ({"space": process_space(), "pid": os.getpid(), "start": "1"}, "stopped"),
        ({"state": "interrupted"}, "interrupted"),
    ],
)
def test_a_driver_that_vanished_works_on_nothing(
    out: Path, said: dict[str, Any], state: str
) -> None:
    write_progress(out, **said)
    now = RunWatch(out).look()
    assert now.state == state
    assert (now.running, now.waiting) == ((2, 3) if state == "running" else (0, 5))
    assert (now.eta_s is None) == (state != "running")
    assert now.as_dict()["silent_s"] == 1.0


def test_a_watch_reads_on_and_begins_again_with_the_run(out: Path) -> None:
    write_progress(out)
    watch = RunWatch(out)
    assert watch.look().done == 3
    with (out / JOURNAL_NAME).open("ab") as file:
        line = json.dumps(replace(LOST, slide_id="d").as_dict()).encode() + b"\n"
        file.write(line[:20])
        file.flush()
        assert watch.look().failed == 1
        file.write(line[20:])
        file.flush()
        assert watch.look().failed == 2
    with Journal(out / JOURNAL_NAME) as journal:
        journal.append(DONE)
    assert (watch.look().ok, watch.look().failed) == (1, 0)


def test_a_watch_begins_again_though_the_new_journal_is_as_long_already(out: Path) -> None:
    write_progress(out)
    watch = RunWatch(out)
    assert watch.look().done == 3
    with Journal(out / JOURNAL_NAME) as journal:
        for number in range(9):
            journal.append(replace(LOST, slide_id=f"another{number}"))
    write_progress(out, pid=2, total=20)
    assert (watch.look().ok, watch.look().failed) == (0, 9)


def test_a_folder_without_a_run_is_said(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(NotARunError, match=r"no run has begun.*progress\.json.*-o"):
            RunWatch(folder).look()


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "line 1 column 1"),
        (b"\0" * 500, "line 1 column 1"),
        (b"\xff" * 9, "position 0"),
        (b'{"state": "running",\n "mess', "line 2 column 2"),
        (b"[]", r"\[\] and no object"),
        (b"{}", "lacks 'state'"),
    ],
)
def test_a_damaged_file_is_named_with_its_place_and_the_way_out(
    tmp_path: Path, content: bytes, what: str
) -> None:
    (tmp_path / PROGRESS_NAME).write_bytes(content)
    message = rf"progress\.json is damaged \(.*{what}.*again"
    with pytest.raises(DamagedError, match=message) as raised:
        RunWatch(tmp_path).look()
    assert str(tmp_path) in str(raised.value)


@pytest.mark.parametrize(
    ("name", "value"), [("pid", None), ("elapsed_s", float("nan")), ("in_hand", 3), ("state", 1)]
)
def test_a_value_that_no_driver_writes_is_named(out: Path, name: str, value: Any) -> None:
    write_progress(out, **{name: value})
    with pytest.raises(DamagedError, match=rf"progress\.json is damaged \(its '{name}' is "):
        RunWatch(out).look()


def test_a_damaged_journal_is_named_and_what_is_read_again_is_read_once(out: Path) -> None:
    write_progress(out)
    whole = (out / JOURNAL_NAME).read_bytes()
    with (out / JOURNAL_NAME).open("ab") as file:
        file.write(b"\0" * 50 + b"\n")
    watch = RunWatch(out)
    for _ in range(2):
        with pytest.raises(DamagedError, match=rf"records\.jsonl .* byte {len(whole)}"):
            watch.look()
    (out / JOURNAL_NAME).write_bytes(whole)
    assert watch.look().done == 3


def jobs(count: int) -> list[SlideJob]:
    config = RunConfig(teacher=Path("t"))
    refs = [SlideRef(path=Path(f"{i}.svs"), slide_id=f"s{i}") for i in range(count)]
    return [SlideJob(entry=Entry(ref=r), folder=Path(r.slide_id), config=config) for r in refs]


def test_the_driver_says_what_it_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress_module, "BEAT_S", 0.01)
    sizes = {f"s{i}": 100 for i in range(4)}

    def beat() -> RunStatus:
        """What is said in a beat that began after this moment."""
        path = tmp_path / PROGRESS_NAME
        for _ in range(2):
            before = path.stat().st_ino
            while path.stat().st_ino == before:
                pass
        return RunWatch(tmp_path).look()

    with Progress(tmp_path, sizes) as progress:
        coming = progress.handing_out(jobs(4))
        assert RunWatch(tmp_path).look().running == 0
        for _ in range(3):
            next(coming)
        assert beat().working_on == ("s0", "s1", "s2")
        progress.finished(replace(DONE, slide_id="s1"))
        progress.finished(replace(REUSED, slide_id="s2"))
        now = beat()
        assert now.working_on == ("s0",)
        said = json.loads((tmp_path / PROGRESS_NAME).read_text())
        assert (said["done_share"], said["worked_share"]) == (0.5, 0.25)
    assert RunWatch(tmp_path).look().state == "finished"


def test_a_slide_in_hand_counts_by_its_blocks(tmp_path: Path) -> None:
    plan = SealedPlan(
        step="embed", ref=jobs(1)[0].ref, folder=tmp_path, work=b"", blocks=(b"",) * 5
    )

    def said(progress: Progress) -> Said:
        progress._write("running")
        said = read_said(tmp_path)
        assert said is not None
        return said

    with Progress(tmp_path, {"s0": 800, "s1": 100, "s2": 100}) as progress:
        list(progress.handing_out(jobs(3)))
        progress.advanced("s0", HandedOut(plans=(plan, replace(plan, blocks=(b"", b"")))))
        assert (said(progress).blocks_total, said(progress).done_share) == (7, 0.0)
        progress.advanced("s0", BlockDone(tiles=40))
        progress.advanced("s0", BlockDone(is_new=False))
        progress.advanced("s0", None)  # a block whose task failed: the slide's own does it
        now = said(progress)
        assert (now.blocks_done, now.blocks_total, now.tiles) == (2, 7, 40)
        assert (now.done_share, now.worked_share) == pytest.approx((0.2, 0.1))
        progress.finished(replace(DONE, slide_id="s1"))
        assert (said(progress).blocks_done, said(progress).tiles) == (2, 40 + 20)
        progress.finished(replace(DONE, slide_id="s0", n_tiles=210))
        now = said(progress)
        assert (now.blocks_done, now.blocks_total, now.tiles) == (0, 0, 200 + 20)
        assert (now.done_share, now.worked_share) == pytest.approx((0.9, 0.8))


def test_nothing_is_kept_of_slides_that_are_finished(tmp_path: Path) -> None:
    progress = Progress(tmp_path, {f"s{i}": 1 for i in range(1000)})
    started = time.process_time()
    for job in progress.handing_out(jobs(1000)):
        slide_id = job.ref.slide_id
        plan = SealedPlan(step="embed", ref=job.ref, folder=tmp_path, work=b"", blocks=(b"",) * 9)
        progress.advanced(slide_id, HandedOut(plans=(plan,)))
        for _ in range(9):
            progress.advanced(slide_id, BlockDone())
        progress.finished(replace(DONE, slide_id=slide_id))
        assert len(progress._in_hand) == 0
    assert (time.process_time() - started) / 1000 < 0.001


def test_what_a_person_sees_of_a_large_slide(out: Path) -> None:
    write_progress(out, blocks_done=30, blocks_total=80, tiles=500)
    console = Console(width=200)
    with console.capture() as captured:
        console.print(_shown(RunWatch(out).look(), out))
    text = captured.get()
    assert "30 of 80 blocks of large slides done" in text
    assert "10 s, 60% done by bytes, 8 s left" in text
    assert "12 slides a minute   50 tiles/s" in text
    assert "running (process 1 on elsewhere)" in text


def test_the_file_is_as_small_for_many_slides(tmp_path: Path) -> None:
    sizes = {f"s{i}": 0 for i in range(3000)}
    with Progress(tmp_path, sizes) as progress:
        assert len(list(progress.handing_out(jobs(3000)))) == 3000
    said = json.loads((tmp_path / PROGRESS_NAME).read_text())
    assert said["n_in_hand"] == 3000
    assert len(said["in_hand"]) == NAMED
    assert (tmp_path / PROGRESS_NAME).stat().st_size < 5000


@pytest.mark.parametrize(
    ("error", "state", "message"),
    [
        (KeyboardInterrupt(), "interrupted", ""),
        (OSError("disk full"), "broken", "OSError: disk full"),
    ],
)
def test_how_it_ended_is_said(
    tmp_path: Path, error: BaseException, state: str, message: str
) -> None:
    with pytest.raises(type(error)), Progress(tmp_path, {"s0": 5}):
        raise error
    now = RunWatch(tmp_path).look()
    assert (now.state, now.message, now.waiting) == (state, message, 1)


@pytest.mark.parametrize(
    ("slides_per_s", "said"),
    [
        (0.0924, "5.5 slides a minute"),
        (20.0, "1200 slides a minute"),
        (1 / 130, "2 min 10 s a slide"),
        (0.0, "0 slides a minute"),
    ],
)
def test_speed_is_said_as_people_say_it(out: Path, slides_per_s: float, said: str) -> None:
    write_progress(out)
    now = replace(RunWatch(out).look(), slides_per_s=slides_per_s, reasons={"no_mpp": 2})
    console = Console(width=200)
    with console.capture() as captured:
        console.print(_shown(now, out))
    assert said in captured.get()
    assert "2 no mpp" in captured.get()
