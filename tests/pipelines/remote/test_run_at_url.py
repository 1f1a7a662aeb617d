"""Runs whose OUT is s3://, at a server on loopback: the results of a run on a disk."""

import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cluster.executor import Outcome
from cluster.serial import SerialExecutor
from pipelines.blockwise.sealed import BlockTask
from pipelines.cli.main import cli
from pipelines.embedding import work
from pipelines.locks.folder import HeldError, held
from pipelines.output import output_path
from pipelines.remote import task, workplace
from pipelines.status.status import RunWatch
from pipelines.steps import pyramid
from pipelines.verify.run import redo_slide, verify_run
from tests.pipelines.remote.runs import (
    FIRST,
    KEY,
    SECOND,
    URL,
    left_in,
    on_disk,
    own_names,
    run,
    stored,
)
from wsi.errors import OutputPermissionError, UnreachableOutputError
from wsi.pyramid import write
from wsi.pyramid.options import PyramidOptions
from wsi.remote import file_system
from wsi.testing import Specimen, write_slide

Raypath = Callable[..., Any]


def test_the_results_of_a_run_on_a_disk_and_nothing_twice(
    slides: Path, model: Path, bucket: Any, tmp_path: Path
) -> None:
    near = run(slides, tmp_path / "near", model)
    far = run(slides, output_path(URL), model)
    assert {i: r.verdict for i, r in far.items()} == {i: r.verdict for i, r in near.items()}
    wanted = on_disk(tmp_path / "near")
    assert len(wanted) > 20
    assert stored(bucket) == wanted
    own = {"run.json", "slides.parquet", "report.html", "records.jsonl", "progress.json"}
    assert own_names(bucket) == own | {"receipt.json"}
    page = bucket.cat_file("cohort/the run/report.html").decode()
    assert page.count("data:image/webp") >= 4  # thumbnails and pictures of both
    workplace._workplace.cache_clear()
    again = run(slides, output_path(URL), model)
    assert {i: len(r.reused) for i, r in again.items()} == {FIRST: 4, SECOND: 4, "broken": 0}
    assert stored(bucket) == wanted
    assert left_in(tmp_path / "scratch") == []


class Travelling:
    """An executor of two workers each of whose tasks is on a machine of its own."""

    workers = 2

    def __init__(self) -> None:
        self.blocks = 0

    def map(
        self, task: Callable[[Any], Any], items: Iterable[Any], **follow: Any
    ) -> Iterator[Outcome[Any, Any]]:
        for outcome in SerialExecutor().map(partial(elsewhere, task), items, **follow):
            self.blocks += isinstance(outcome.item, BlockTask)
            yield outcome


def elsewhere(task: Callable[[Any], Any], item: Any) -> Any:
    before = workplace._workplace(os.getpid())
    workplace._workplace.cache_clear()
    try:
        return task(item)
    finally:
        workplace._workplace.cache_clear()
        assert before.is_dir()  # what another process holds is left alone


def test_blocks_done_on_many_machines_killed_and_gone_on_with(
    model: Path, bucket: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "slides").mkdir()
    specimen = Specimen(seed=7, width=2600, height=2300)
    write_slide(tmp_path / "slides" / "s.svs", specimen)
    options = partial(PyramidOptions, block_px=1024, chunk_px=256)
    monkeypatch.setattr(pyramid, "PyramidOptions", options)
    monkeypatch.setattr(work, "BLOCK_TILES", 150)
    run(tmp_path / "slides", tmp_path / "near", model)
    written: list[str] = []
    real = write.write_part

    def watch(root: Path, part: Any, *rest: Any) -> Any:
        if len(written) == 4:
            raise KeyboardInterrupt
        written.append(part.part_id)
        return real(root, part, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(write, "write_part", watch)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "slides", output_path(URL), model, Travelling())
    assert len([name for name in stored(bucket) if "/.partial-pyramid" in name]) > 4
    first, executor = list(written), Travelling()

    def watch_again(root: Path, part: Any, *rest: Any) -> Any:
        written.append(part.part_id)
        return real(root, part, *rest)

    monkeypatch.setattr(write, "write_part", watch_again)
    assert run(tmp_path / "slides", output_path(URL), model, executor)["s"].verdict == "ok"
    assert executor.blocks > 9
    assert len(first) == 4
    assert len(written) == len(set(written)) == 9  # none of them twice
    assert stored(bucket) == on_disk(tmp_path / "near")


def test_killed_while_it_removes_the_blocks_none_of_them_is_taken_for_done(
    model: Path, bucket: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "slides").mkdir()
    write_slide(tmp_path / "slides" / "s.svs", Specimen(seed=7, width=2600, height=2300))
    options = partial(PyramidOptions, block_px=1024, chunk_px=256)
    monkeypatch.setattr(pyramid, "PyramidOptions", options)
    run(tmp_path / "slides", tmp_path / "near", model)
    real = task.remove_objects

    def remove(url: Path, names: Iterable[str]) -> None:
        pixels = [name for name in names if ".partial-pyramid" in name and "zarr/0/c/" in name]
        real(url, pixels or names)  # in any order: these may be the first that go
        if pixels:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(task, "remove_objects", remove)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "slides", output_path(URL), model, Travelling())
    left = [name for name in stored(bucket) if "/.partial-pyramid" in name]
    assert left, "nothing is left that could be taken for a block"
    assert run(tmp_path / "slides", output_path(URL), model, Travelling())["s"].verdict == "ok"
    assert stored(bucket) == on_disk(tmp_path / "near")


def test_a_slide_whose_upload_breaks_off_is_not_taken_for_done(
    slides: Path, model: Path, bucket: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(slides, tmp_path / "near", model)
    files = file_system(output_path(URL))
    real = files.put_file
    tried: list[str] = []

    def put(local: str, remote: str, **options: Any) -> Any:
        if remote.endswith(f"{FIRST}/tiles.h5"):
            tried.append(remote)
            raise OSError(errno.EIO, "the line is bad")
        return real(local, remote, **options)

    with monkeypatch.context() as patch:
        patch.setattr(files, "put_file", put)
        found = run(slides, output_path(URL), model)
    assert (found[FIRST].verdict, found[FIRST].reason) == ("failed", "output_unreachable")
    assert "tried 3 times" in found[FIRST].message
    assert len(tried) == 3
    assert found[SECOND].verdict == "ok"
    assert f"{FIRST}/receipt.json" not in stored(bucket)
    assert run(slides, output_path(URL), model)[FIRST].verdict == "ok"
    assert stored(bucket) == on_disk(tmp_path / "near")


def test_status_and_verify_read_it_and_damage_is_done_again(
    slides: Path, model: Path, bucket: Any, tmp_path: Path
) -> None:
    out = output_path(URL)
    run(slides, out, model)
    wanted = stored(bucket)
    now = RunWatch(out).look()
    assert (now.state, now.ok, now.failed) == ("finished", 2, 1)
    assert [v.problems for v in verify_run(out, SerialExecutor())] == [()] * 4
    name = f"cohort/the run/slides/{FIRST}/tiles.h5"
    content = bucket.cat_file(name)
    bucket.pipe_file(name, content[:-1] + bytes([content[-1] ^ 1]))
    found = {v.name: v for v in verify_run(out, SerialExecutor())}
    assert [name for name, v in found.items() if v.problems] == [FIRST]
    for each in found.values():
        redo_slide(out, each)
    again = run(slides, out, model)
    assert (again[FIRST].reused, len(again[SECOND].reused)) == ((), 4)
    assert stored(bucket) == wanted


def test_the_second_is_told_who_holds_it(bucket: Any) -> None:
    out = output_path(URL)
    with held(out) as mine:
        mine.beat()
        mine.check()
        told = f"process {os.getpid()} on .* remove {URL}/lock.json"
        with pytest.raises(HeldError, match=told), held(out):
            pass
    assert own_names(bucket) == set()


def test_what_is_wrong_with_the_storage_is_said_before_anything_is_done(
    slides: Path, model: Path, bucket: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(OutputPermissionError, match="no such bucket"):
        run(slides, output_path("s3://nowhere/out"), model)
    refused: OSError = PermissionError(errno.EACCES, "Access Denied")

    def refuse(*_: Any, **__: Any) -> None:
        raise refused

    files = file_system(output_path(URL))
    with monkeypatch.context() as patch:
        patch.setattr(files, "pipe_file", refuse)
        with pytest.raises(OutputPermissionError, match="give credentials"):
            run(slides, output_path(URL), model)
    refused = ConnectionError("gone")
    with monkeypatch.context() as patch:
        patch.setattr(files, "pipe_file", refuse)
        with pytest.raises(UnreachableOutputError, match="does not answer: ConnectionError: gone"):
            run(slides, output_path(URL), model)
    assert bucket.find("cohort") == []


def test_the_command_says_so_too(
    raypath: Raypath, slides: Path, model: Path, bucket: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    said = raypath("run", slides, "-o", URL, "--model", model)
    assert said.code == 2
    assert "Unable to locate credentials" in said.err
    assert "AWS_PROFILE" in said.err


@pytest.mark.slow
def test_a_killed_run_is_gone_on_with_and_reported(
    raypath: Raypath, slides: Path, model: Path, bucket: Any, tmp_path: Path
) -> None:
    flags = ("-o", URL, "--model", str(model), "--executor", "serial", "--codec", "zstd", "--json")
    command = [str(Path(sys.executable).with_name("raypath")), "run", str(slides), *flags]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        assert process.stdout.readline()  # one slide is done
        process.send_signal(signal.SIGKILL)
    assert "lock.json" in own_names(bucket)
    said = raypath("run", slides, *flags)
    assert said.code == 1, said.err  # of the broken slide
    records = {r["slide_id"]: r for r in map(json.loads, said.out.splitlines())}
    assert {i: r["verdict"] for i, r in records.items()} == {
        FIRST: "ok",
        SECOND: "ok",
        "broken": "failed",
    }
    run(slides, tmp_path / "near", model)
    assert stored(bucket) == on_disk(tmp_path / "near")
    bucket.rm_file("cohort/the run/report.html")
    assert raypath("report", URL).code == 0
    assert "report.html" in own_names(bucket)
    assert json.loads(raypath("status", URL, "--json").out)["state"] == "finished"
    assert raypath("verify", URL, "--executor", "serial").code == 0


def test_a_report_that_says_more_is_sealed_again(
    slides: Path, model: Path, bucket: Any, tmp_path: Path
) -> None:
    run(slides, output_path(URL), model)
    said = {"slides": 3, "estimate": {"seconds": 3.0, "bytes_out": 1e6, "process_bytes": 1e9}}
    bucket.pipe_file(f"{KEY}/check.json", json.dumps(said).encode())
    assert CliRunner().invoke(cli, ["report", URL]).exit_code == 0
    assert b"Estimate of raypath check" in bucket.cat_file(f"{KEY}/report.html")
    assert not [v for v in verify_run(output_path(URL), SerialExecutor()) if v.problems]
    bucket.rm_file(f"{KEY}/receipt.json")
    assert CliRunner().invoke(cli, ["report", URL]).exit_code == 0
    assert "receipt.json" not in own_names(bucket)
