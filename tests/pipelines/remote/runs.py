"""Runs at a URL and on a disk, and what they leave."""

from pathlib import Path
from typing import Any

from cluster.executor import Executor
from cluster.serial import SerialExecutor
from pipelines.cohort.manifest import read_cohort
from pipelines.records import SlideRecord
from pipelines.run import run_cohort
from pipelines.settings.config import RunConfig

URL = "s3://cohort/the run"
KEY = "cohort/the run"  # the same, as file systems take it
FIRST, SECOND = "a #1 [x]", "é ø"  # ids of slides: they mean something to URLs and patterns


def run(
    slides: Path, out: Path, model: Path, executor: Executor | None = None, **settings: Any
) -> dict[str, SlideRecord]:
    """Run all slides in a folder; their records by id."""
    config = RunConfig(**({"model": model, "executor": "serial", "codec": "zstd"} | settings))
    records: list[SlideRecord] = []
    entries = read_cohort([str(slides)])
    run_cohort(entries, out, config, executor or SerialExecutor(), report=records.append)
    return {record.slide_id: record for record in records}


def on_disk(folder: Path) -> dict[str, bytes]:
    """Every file of the slides, by name."""
    root = folder / "slides"
    return {f.relative_to(root).as_posix(): f.read_bytes() for f in root.rglob("*") if f.is_file()}


def stored(bucket: Any) -> dict[str, bytes]:
    """Every object of the slides, by name."""
    bucket.invalidate_cache()
    root = f"{KEY}/slides"
    return {name.removeprefix(f"{root}/"): bucket.cat_file(name) for name in bucket.find(root)}


def own_names(bucket: Any) -> set[str]:
    """The names of the run's own objects."""
    bucket.invalidate_cache()
    return {name.rpartition("/")[2] for name in bucket.find(KEY, maxdepth=1)}


def left_in(scratch: Path) -> list[Path]:
    """What results left on a scratch disk."""
    return [f for f in scratch.rglob("*") if f.is_file() and f.name != "lock"]
