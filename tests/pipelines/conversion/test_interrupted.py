"""Conversions that are killed, continued, repeated, or run beside each other."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cluster.ray_executor import RayExecutor
from cluster.serial import SerialExecutor
from pipelines.conversion import parts
from pipelines.conversion.driver import convert_slide, convert_slides
from pipelines.conversion.record import ConvertRecord
from pipelines.conversion.tasks import ConvertJob
from wsi.atomic import TMP_MARK
from wsi.pyramid.options import PyramidOptions
from wsi.ref import SlideRef


@pytest.mark.parametrize("flags", [("--codec", "auto"), ("--codec", "jpeg", "--quality", "80")])
@pytest.mark.parametrize("executor", ["serial", "threads", "ray"])
def test_killed_again_and_again_the_result_is_that_of_an_undisturbed_run(
    slide: Path,
    tmp_path: Path,
    flags: tuple[str, ...],
    executor: str,
    tree: Callable[[Path], dict[str, bytes]],
    command: Callable[..., list[str]],
) -> None:
    undisturbed = tmp_path / "undisturbed"
    subprocess.run(command(slide, undisturbed, *flags), check=True, capture_output=True)
    generator = random.Random(f"{flags}{executor}")
    out = tmp_path / "killed"
    partial, final = out / ".partial-slide.ome.zarr", out / "slide.ome.zarr"
    workers = () if executor == "serial" else ("--workers", "2")
    killed, seen = 0, 0
    for attempt in range(8):
        process = subprocess.Popen(
            command(slide, out, *flags, "--resume", "--executor", executor, *workers),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        # First while the slide is looked at, then after some parts and a moment more.
        wanted = seen + (generator.randint(0, 2) if attempt else 0)
        while process.poll() is None and not (
            partial.exists() and len(list(partial.glob("parts/*.json"))) >= wanted
        ):
            time.sleep(0.001)
        time.sleep(generator.random() * (0.02 if attempt else 0.2))
        seen = len(list(partial.glob("parts/*.json")))
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            killed += 1
        process.wait()
        if final.exists():
            if killed >= 2:
                break
            shutil.rmtree(out)  # it was done before its kill: once more from the start
            seen = 0
    assert killed >= 2
    last = command(slide, out, *flags, "--resume", "--json")
    done = subprocess.run(last, capture_output=True, text=True)
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"
    assert json.loads(done.stdout)["verdict"] == "ok"
    assert tree(final) == tree(undisturbed / "slide.ome.zarr")
    assert [path.name for path in out.iterdir()] == ["slide.ome.zarr"]


def test_resuming_does_only_what_is_left(
    slide: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    tree: Callable[[Path], dict[str, bytes]],
    convert: Callable[..., ConvertRecord],
) -> None:
    path = tmp_path / "slide.ome.zarr"
    job = ConvertJob(ref=SlideRef.of(slide), path=path, options=PyramidOptions(), resume=True)
    written: list[str] = []

    class Stops:
        """Runs tasks in this process until three parts are written."""

        workers = 1

        def map(self, task: Any, items: Any, *, follow: Any) -> Iterator[Any]:
            def counted(item: Any) -> Any:
                if hasattr(item, "part"):
                    if len(written) == 3:
                        raise KeyboardInterrupt
                    written.append(item.part.part_id)
                return task(item)

            return SerialExecutor().map(counted, items, follow=follow)

    with pytest.raises(KeyboardInterrupt):
        list(convert_slides([job], Stops()))
    assert not path.exists()
    first = list(written)
    assert len(first) == 3
    written.clear()
    # A process that was killed between making a note's file and writing it.
    (job.partial / "parts" / f"{TMP_MARK}0123abcd-{first[0]}.json").touch()

    original = parts.write_copy
    monkeypatch.setattr(
        parts,
        "write_copy",
        lambda root, part: (written.append(part.part_id), original(root, part))[1],
    )
    (record,) = convert_slides([job], SerialExecutor())
    assert record.verdict == "ok"
    assert not set(first) & set(written)
    assert convert(slide, tmp_path / "other.ome.zarr").verdict == "ok"
    assert tree(path) == tree(tmp_path / "other.ome.zarr")


def test_ray_writes_what_one_process_writes(
    slide: Path,
    tmp_path: Path,
    tree: Callable[[Path], dict[str, bytes]],
    convert: Callable[..., ConvertRecord],
) -> None:
    jobs = [
        ConvertJob(
            ref=SlideRef.of(slide),
            path=tmp_path / f"{codec}.ome.zarr",
            options=PyramidOptions(codec=codec, block_px=2048),
        )
        for codec in ("auto", "zstd")
    ]
    with RayExecutor(workers=2) as executor:
        records = {record.path: record for record in convert_slides(jobs, executor)}
    for codec in ("auto", "zstd"):
        assert records[str(tmp_path / f"{codec}.ome.zarr")].verdict == "ok"
        alone = tmp_path / "alone" / f"{codec}.ome.zarr"
        assert convert(slide, alone, codec=codec, block_px=2048).verdict == "ok"
        assert tree(tmp_path / f"{codec}.ome.zarr") == tree(alone)


def test_a_pyramid_that_exists_is_kept_or_replaced_as_asked(
    small_slide: Path, tmp_path: Path, tree: Callable[[Path], dict[str, bytes]]
) -> None:
    path = tmp_path / "image.ome.zarr"
    ref = SlideRef.of(small_slide)
    assert convert_slide(ref, path).verdict == "ok"
    before = tree(path)
    refused = convert_slide(ref, path)
    assert (refused.verdict, refused.reason) == ("failed", "usage")
    assert "--overwrite" in (refused.message or "")
    kept = convert_slide(ref, path, resume=True)
    assert (kept.verdict, kept.reused, kept.levels) == ("ok", True, 3)
    other = PyramidOptions(codec="zstd")
    differs = convert_slide(ref, path, options=other, resume=True)
    assert (differs.reason, "other settings" in (differs.message or "")) == ("usage", True)
    assert tree(path) == before
    replaced = convert_slide(ref, path, options=other, overwrite=True)
    assert (replaced.verdict, replaced.codec) == ("ok", "zstd")
    assert [p.name for p in tmp_path.iterdir()] == ["image.ome.zarr"]


def test_killed_while_it_replaces_a_pyramid_nothing_is_left_of_that_in_the_end(
    small_slide: Path, tmp_path: Path, command: Callable[..., list[str]]
) -> None:
    out = tmp_path / "out"
    path = out / f"{small_slide.stem}.ome.zarr"
    assert convert_slide(SlideRef.of(small_slide), path).verdict == "ok"
    program = (  # the old one is put aside, the new one in place, and then it is killed
        "import os, shutil\n"
        "original = shutil.rmtree\n"
        "shutil.rmtree = lambda p: os.kill(os.getpid(), 9) if '-old-' in p.name else original(p)\n"
        "from pipelines.cli.main import cli; cli()"
    )
    run = command(small_slide, out, "--codec", "zstd", "--executor", "serial")
    killing = [sys.executable, "-c", program, *run[1:], "--overwrite"]
    assert subprocess.run(killing, capture_output=True, check=False).returncode == -9
    assert len(list(out.glob(f"{TMP_MARK}*"))) == 1
    done = subprocess.run([*run, "--resume"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert [p.name for p in out.iterdir()] == [path.name]


def test_two_processes_do_not_write_the_same_pyramid(small_slide: Path, tmp_path: Path) -> None:
    ref, path = SlideRef.of(small_slide), tmp_path / "image.ome.zarr"
    seconds = []

    class Interrupted:
        """Converts the same slide once more between the beginning and the rest."""

        workers = 1

        def map(self, task: Any, items: Any, *, follow: Any) -> Iterator[Any]:
            for outcome in SerialExecutor().map(task, items, follow=follow):
                if not seconds:
                    seconds.append(convert_slide(ref, path))
                yield outcome

    job = ConvertJob(ref=ref, path=path, options=PyramidOptions())
    (first,) = convert_slides([job], Interrupted())
    assert first.verdict == "ok"
    assert seconds[0].reason == "usage"
    assert "another process" in (seconds[0].message or "")


def test_a_slide_that_changes_while_it_is_read_is_refused(
    small_slide: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "growing.svs"
    shutil.copyfile(small_slide, copy)
    path = tmp_path / "out" / "image.ome.zarr"

    class Grows:
        workers = 1

        def map(self, task: Any, items: Any, *, follow: Any) -> Iterator[Any]:
            for outcome in SerialExecutor().map(task, items, follow=follow):
                with copy.open("ab") as file:
                    file.write(b"more")
                yield outcome

    job = ConvertJob(ref=SlideRef.of(copy), path=path, options=PyramidOptions())
    (record,) = convert_slides([job], Grows())
    assert (record.verdict, record.reason) == ("failed", "slide_changed")
    assert str(copy) in (record.message or "")
    assert not list(path.parent.iterdir())
