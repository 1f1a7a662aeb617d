"""What a run costs its driver: memory, and time a slide, from the manifest to the report.

python -m benchmarks.scale.driver [--slides 10 1000 10000] [--executors serial ray] [--workers 2]

Everything is the run's own but for the task, which looks at no slide: it leaves a preview and a
record as a slide's task does. With ray it runs in workers, with serial in the driver. CPU seconds
are the driver's, less those of starting; resident memory is read when the run is done.
"""

import argparse
import csv
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from unittest import mock

import numpy as np

import pipelines.run
from pipelines.cohort.manifest import read_cohort
from pipelines.executors import make_executor
from pipelines.job import SlideJob
from pipelines.records import SlideRecord
from pipelines.report.pictures import encode_webp
from pipelines.report.preview import INDEX_NAME, PANEL_BYTES, PREVIEW_NAME, Preview, data_uri
from pipelines.runfolder import REPORT_NAME
from pipelines.settings.config import load_config
from pipelines.tasks import Done, Task

STUB_BYTES = 1000  # of a slide's file


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure each size in a process of its own, and print a row for it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slides", type=int, nargs="+", default=[10, 1000, 10_000])
    parser.add_argument("--executors", nargs="+", default=["serial", "ray"])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--measure", type=Path, help="measure one run, into this empty folder")
    given = parser.parse_args(arguments)
    if given.measure:
        figures = measure(given.measure, given.slides[0], given.executors[0], given.workers)
        print(json.dumps(figures))
        return
    is_first = True
    for executor in given.executors:
        for count in given.slides:
            with tempfile.TemporaryDirectory() as scratch:
                command = [sys.executable, "-m", "benchmarks.scale.driver", "--measure", scratch]
                command += ["--slides", str(count), "--executors", executor]
                command += ["--workers", str(given.workers)]
                done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            row = {"executor": executor, "slides": count} | json.loads(done.stdout.splitlines()[-1])
            if is_first:
                print(" ".join(f"{name:>16}" for name in row))
                is_first = False
            print(" ".join(f"{value:>16}" for value in row.values()), flush=True)


def measure(folder: Path, count: int, executor: str, workers: int) -> dict[str, float]:
    """Run `count` stub slides; what it took of this process."""
    manifest = write_manifest(folder, count)
    in_ray = {"workers": workers} if executor == "ray" else {}
    config = load_config(None, {"executor": executor} | in_ray)
    with (
        mock.patch.object(pipelines.run, "do", stub),
        make_executor(executor, address=None, workers=config.workers) as runner,
    ):
        before, started = _resident_mib(), (time.process_time(), time.perf_counter())
        entries = read_cohort([str(manifest)])
        counts = pipelines.run.run_cohort(entries, folder / "out", config, runner)
        cpu, wall = time.process_time() - started[0], time.perf_counter() - started[1]
        after = _resident_mib()
    assert counts["ok"] == count
    return {
        "MiB before": round(before, 1),
        "MiB after": round(after, 1),
        "cpu ms/slide": round(cpu * 1000 / count, 2),
        "wall ms/slide": round(wall * 1000 / count, 2),
        "report MB": round((folder / "out" / REPORT_NAME).stat().st_size / 1e6, 2),
    }


def write_manifest(folder: Path, count: int) -> Path:
    """Write stub slides and the manifest that names them, with every column."""
    slides = folder / "slides"
    slides.mkdir()
    path = folder / "manifest.csv"
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["path", "slide_id", "patient_id", "label", "split", "mpp"])
        for number in range(count):
            slide = slides / f"{number:06d}.svs"
            slide.write_bytes(bytes(STUB_BYTES))
            patient = f"patient_{number // 3:06d}"
            split = "train" if number // 3 % 5 else "test"
            rows.writerow([f"slides/{slide.name}", slide.stem, patient, "tumour", split, 0.25])
    return path


def stub(task: Task) -> Done:
    """What is done in place of `pipelines.tasks.do`."""
    assert isinstance(task, SlideJob)
    preview = task.folder / PREVIEW_NAME
    preview.mkdir(parents=True)
    said = Preview(thumbnail=data_uri(_PICTURES[0]), panels=["slide"])
    (preview / INDEX_NAME).write_text(json.dumps(asdict(said)))
    (preview / "slide.webp").write_bytes(_PICTURES[1])
    entry = task.entry
    return SlideRecord(
        slide_id=entry.ref.slide_id,
        path=str(entry.ref.path),
        verdict="ok",
        patient_id=entry.patient_id,
        label=entry.label,
        split=entry.split,
        flags=("pen_marks",),
        vendor="aperio",
        width=100_000,
        height=80_000,
        mpp=0.25,
        mpp_source="manifest",
        tissue_mm2=123.4,
        n_tiles=12_345,
        prediction="tumour",
        score=0.5,
        seconds=dict.fromkeys(("tissue", "pyramid", "embed", "predict", "preview"), 1.5),
    )


def _pictures() -> tuple[bytes, bytes]:
    """A thumbnail and a picture, of noise: the largest there are."""
    noise = np.random.default_rng(0).integers(0, 256, (360, 360, 3), dtype=np.uint8)
    return encode_webp(noise[:72, :72], most_bytes=1600), encode_webp(noise, most_bytes=PANEL_BYTES)


_PICTURES = _pictures()


def _resident_mib() -> float:
    status = Path("/proc/self/status").read_text()
    lines = dict(line.split(":", 1) for line in status.splitlines())
    return int(lines["VmRSS"].split()[0]) / 1024


if __name__ == "__main__":
    main()
