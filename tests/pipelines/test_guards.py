"""What a run does when its slides change, its disk is full, or its folder is not for it."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from cluster.executor import Executor, Outcome
from cluster.serial import SerialExecutor
from distill.errors import ModelError
from pipelines import unchanged
from pipelines.cohort.manifest import read_cohort
from pipelines.demo.alignment import write_colour_model
from pipelines.job import SlideJob
from pipelines.locks import folder
from pipelines.locks.folder import LOCK_NAME, HeldError, held
from pipelines.records import SlideRecord, read_records
from pipelines.run import run_cohort
from pipelines.settings.config import RunConfig
from wsi.atomic import digest
from wsi.errors import DiskFullError
from wsi.plan import TileSpec
from wsi.testing import Specimen, write_slide


@pytest.fixture(scope="module")
def slides(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three small slides."""
    folder = tmp_path_factory.mktemp("slides")
    for seed in (1, 2, 3):
        write_slide(folder / f"s{seed}.svs", Specimen(seed=seed, width=1100, height=900))
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model") / "model"
    write_colour_model(folder, TileSpec(size_px=64, mpp=1.0))
    return folder


def run(
    slides: Path, out: Path, model: Path, executor: Executor | None = None
) -> dict[str, SlideRecord]:
    config = RunConfig(model=model, executor="serial")
    run_cohort(read_cohort([slides]), out, config, executor or SerialExecutor())
    return {record.slide_id: record for record in read_records(out / "slides.parquet")}


def results(out: Path) -> dict[str, str]:
    """Digests of what a run leaves of each slide."""
    return {folder.name: digest(folder) for folder in (out / "slides").iterdir()}


def put_other_bytes(path: Path) -> None:
    """Another slide of the same size, with the same ends and time: what `cp -p` might do."""
    stat = path.stat()
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    with path.open("r+b") as file:
        file.write(content)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def put_other_slide(path: Path) -> None:
    write_slide(path, Specimen(seed=9, width=1100, height=900))


@pytest.mark.parametrize("change", [put_other_slide, put_other_bytes, Path.unlink])
def test_nothing_is_kept_of_a_slide_that_changed_meanwhile(
    slides: Path,
    model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[Path], object],
) -> None:
    copies = shutil.copytree(slides, tmp_path / "copies")
    monkeypatch.setattr("wsi.source.END_BYTES", 1000)  # or the ends would be all of it
    real = unchanged.run_slide

    def change_meanwhile(job: SlideJob) -> SlideRecord:
        record = real(job)
        if job.entry.ref.slide_id == "s2":
            change(job.entry.ref.path)
        return record

    monkeypatch.setattr(unchanged, "run_slide", change_meanwhile)
    records = run(copies, tmp_path / "out", model)
    assert [records[s].verdict for s in ("s1", "s2", "s3")] == ["ok", "failed", "ok"]
    assert records["s2"].reason == "slide_changed"
    assert str(copies / "s2.svs") in records["s2"].message
    left = {p.name for p in (tmp_path / "out" / "slides" / "s2").iterdir()}
    assert left == {"tissue.geojson"}
    monkeypatch.setattr(unchanged, "run_slide", real)
    shutil.copyfile(slides / "s2.svs", copies / "s2.svs")
    again = run(copies, tmp_path / "out", model)
    assert again["s2"].verdict == "ok"
    assert again["s1"].reused == ("tissue", "pyramid", "embed", "preview")
    run(slides, tmp_path / "undisturbed", model)
    assert results(tmp_path / "out") == results(tmp_path / "undisturbed")


def test_nothing_of_another_slide_is_left_beside_the_new_one_where_a_step_fails(
    slides: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A heatmap of the old slide would be shown over the new one's image."""
    copies = shutil.copytree(slides, tmp_path / "copies")
    out = tmp_path / "out"
    run(copies, out, model)
    untouched = results(out)

    def fail(*given: object) -> object:
        raise ModelError("no embeddings today")

    monkeypatch.setattr("pipelines.slide.embed_slide", fail)
    records = run(copies, out, model)
    assert {record.reason for record in records.values()} == {"model"}
    assert results(out) == untouched  # the same slides: what was made of them stays
    put_other_slide(copies / "s2.svs")
    run(copies, out, model)
    left = {p.name for p in (out / "slides" / "s2").iterdir()}
    assert left == {"tissue.geojson", "image.ome.zarr", "receipt.json", "preview"}
    assert "tiles.h5" in {p.name for p in (out / "slides" / "s1").iterdir()}


def test_a_slide_that_breaks_because_it_is_replaced_says_so(
    slides: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copies = shutil.copytree(slides, tmp_path / "copies")

    def fail(job: SlideJob) -> SlideRecord:
        job.entry.ref.path.write_bytes(b"half a slide")
        raise ValueError("not a slide")

    monkeypatch.setattr(unchanged, "run_slide", fail)
    records = run(copies, tmp_path / "out", model)
    assert {record.reason for record in records.values()} == {"slide_changed"}


def test_a_run_that_waits_for_another_machines_says_so(
    slides: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder, "SILENT_S", 0.05)
    monkeypatch.setattr(folder, "LOOK_S", 0.01)
    out, said = tmp_path / "out", list[str]()
    out.mkdir()
    (out / LOCK_NAME).touch()
    config = RunConfig(model=model, executor="serial")
    run_cohort(read_cohort([slides / "s1.svs"]), out, config, SerialExecutor(), say=said.append)
    assert [line.partition(": ")[2][:7] for line in said] == ["waiting"]


def test_the_traceback_of_a_defect_is_there_until_the_slide_comes_to_another_end(
    slides: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copies = tmp_path / os.fsdecode(b"slides\xff")  # no text
    copies.mkdir()
    shutil.copy(slides / "s1.svs", copies)
    trace = tmp_path / "out" / "slides" / "s1" / "traceback.txt"

    def fail(job: SlideJob) -> SlideRecord:
        raise RuntimeError(f"a defect, with {job.entry.ref.path}")

    with monkeypatch.context() as patched:
        patched.setattr(unchanged, "run_slide", fail)
        assert run(copies, tmp_path / "out", model)["s1"].reason == "unexpected"
    assert r"slides\udcff/s1.svs" in trace.read_text()
    assert run(copies, tmp_path / "out", model)["s1"].verdict == "ok"
    assert not trace.exists()


def test_the_second_run_in_a_folder_does_nothing(slides: Path, model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(slides, out, model)
    before = results(out), digest(out / "run.json")
    with held(out), pytest.raises(HeldError, match=f"process {os.getpid()}"):
        run(slides, out, model)
    assert (results(out), digest(out / "run.json")) == before
    assert not (out / LOCK_NAME).exists()


class Counting(SerialExecutor):
    """Counts the slides that were worked on."""

    def __init__(self) -> None:
        self.items = 0

    def map(self, task, items, *, follow=None):  # type: ignore[no-untyped-def]
        for outcome in super().map(task, items, follow=follow):
            assert isinstance(outcome, Outcome)
            self.items += isinstance(outcome.item, SlideJob)
            yield outcome


def on_a_disk(options: str, folder: Path, *commands: str) -> subprocess.CompletedProcess[str]:
    """Run shell commands where `folder` is a disk of its own; skip where not allowed."""
    script = "\n".join([f"mount -t tmpfs -o {options} tmpfs {folder} || exit 77", *commands])
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", script], capture_output=True, text=True, timeout=300
    )
    if done.returncode == 77 or "unshare failed" in done.stderr:
        pytest.skip(f"mounting is not allowed: {done.stderr.strip()}")
    return done


@pytest.mark.skipif(shutil.which("unshare") is None, reason="mounting needs unshare")
def test_a_full_disk_ends_the_run_which_goes_on_when_there_is_room(
    slides: Path, model: Path, tmp_path: Path
) -> None:
    out, copy = tmp_path / "disk", tmp_path / "copy"
    out.mkdir()
    raypath = Path(sys.executable).with_name("raypath")
    command = f"{raypath} run {slides} -o {out} --model {model} --executor serial --json"
    done = on_a_disk(
        "size=300k",
        out,
        f"{command}; echo first $?",
        f"mount -o remount,size=100m {out}",
        f"{command}; echo second $?",
        f"cp -r {out} {copy}",
    )
    first, _, second = done.stdout.partition("first 2\n")
    assert "second 0" in second, done.stdout + done.stderr
    verdicts = [json.loads(line)["verdict"] for line in first.splitlines()]
    assert len(verdicts) < 2, "the run went on though the disk was full"
    assert "no room to write" in done.stderr
    assert "MB are free" in done.stderr
    assert "run the same command again" in done.stderr
    assert "Traceback" not in done.stderr
    run(slides, tmp_path / "undisturbed", model)
    assert results(copy) == results(tmp_path / "undisturbed")


@pytest.mark.parametrize("limit", [1_000, 50_000])
def test_a_limit_on_a_files_size_is_a_full_disk(
    slides: Path, model: Path, tmp_path: Path, limit: int
) -> None:
    code = (
        "import resource, signal, sys\n"
        "from pipelines.cli.main import app\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))\n"
        f"sys.argv = ['raypath', 'run', {str(slides)!r}, '-o', {str(tmp_path / 'out')!r}, "
        f"'--model', {str(model)!r}, '--executor', 'serial']\n"
        "app()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.returncode == 2, done.stderr
    assert "no room to write" in done.stderr
    assert "EFBIG" in done.stderr
    run(slides, tmp_path / "out", model)
    run(slides, tmp_path / "undisturbed", model)
    assert results(tmp_path / "out") == results(tmp_path / "undisturbed")


def test_slides_are_no_longer_handed_out_when_the_disk_is_full(
    slides: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(job: SlideJob) -> SlideRecord:
        raise OSError(28, "No space left on device", str(job.folder / "tiles.h5"))

    monkeypatch.setattr(unchanged, "run_slide", fail)
    counting = Counting()
    with pytest.raises(DiskFullError, match="free there"):
        run(slides, tmp_path / "out", model, counting)
    assert counting.items == 1


@pytest.mark.skipif(shutil.which("unshare") is None, reason="mounting needs unshare")
def test_a_folder_that_may_not_be_written(slides: Path, model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    raypath = Path(sys.executable).with_name("raypath")
    command = f"{raypath} run {slides} -o {out} --model {model} --executor serial"
    done = on_a_disk("ro,size=9m", out, f"{command}; echo exit $?")
    assert "exit 2" in done.stdout
    assert f"writing to {out}" in done.stderr
    assert "EROFS" in done.stderr
    assert "--out" in done.stderr
    assert "Traceback" not in done.stderr
