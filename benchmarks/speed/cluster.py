"""A cohort by one worker and by two: how much of the second worker is gained.

One worker has one CPU, for the driver and for Ray too, and two have two: a second CPU beside one
worker would be used all the same, for reading ahead of the network and for handing out.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.speed.measure import BenchmarkError, Contender, Work, measure_in_turns
from benchmarks.speed.report import Report, Table, Verdict
from benchmarks.speed.runs import prepare_run, write_model
from wsi.plan import TileSpec

ONE, TWO = "1 worker, 1 CPU", "2 workers, 2 CPUs"
WANTED = 0.9


@dataclass(frozen=True, slots=True)
class _Job:
    """An encoder, and how many times as many slides it does in the time of the slowest."""

    name: str
    architecture: str
    times: int


# Nothing of note is computed by the first, so that reading tiles is what takes the time.
JOBS = (_Job("decode-bound", "mean-colour", 8), _Job("embed-bound", "resnet18", 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterSettings:
    """What is measured.

    Attributes
    ----------
    slides
        Names under which the slide is embedded by a network; where there is none, 8 times so many.
    tile_px, mpp
        What the encoder sees.
    """

    runs: int = 5
    slides: int = 2
    tile_px: int = 224
    mpp: float = 0.5
    folder: Path | None = None


def measure_cluster(
    slide: Path, settings: ClusterSettings, *, say: Callable[[str], None] = lambda line: None
) -> Report:
    """Run slides with Ray's workers, which are started and have their libraries before.

    Raises
    ------
    BenchmarkError
        If the slide does not get through.
    """
    tables, verdicts = [], []
    spec = TileSpec(size_px=settings.tile_px, mpp=settings.mpp)
    with TemporaryDirectory(dir=settings.folder, prefix="raypath-") as made:
        for job in JOBS:
            model = write_model(Path(made) / job.name, job.architecture, spec)
            slides = settings.slides * job.times
            contenders = [
                Contender(
                    name=name, prepare=partial(_prepare, slide, model, cpus, slides), role="ours"
                )
                for name, cpus in ((ONE, 1), (TWO, 2))
            ]
            results = measure_in_turns(
                contenders, runs=settings.runs, folder=settings.folder, say=say
            )
            table = Table(
                title=f"{slides} slides, {job.name} ({job.architecture}); "
                "CPU and memory are the driver's",
                baseline=ONE,
                baseline_label=ONE,
                source_bytes=slide.stat().st_size,
                results=results,
            )
            one, two = table.find(ONE), table.find(TWO)
            efficiency = one.median / (2 * two.median) if one and two else None
            tables.append(table)
            claim = f"{job.name}: efficiency of two workers"
            verdicts.append(
                Verdict(claim=claim, bound="at least", wanted=WANTED, measured=efficiency)
            )
    return Report(subject=f"{slide.name}, a run on Ray", tables=tables, verdicts=verdicts)


def _prepare(slide: Path, model: Path, cpus: int, slides: int, scratch: Path) -> Work:
    """A run by as many workers as it has CPUs: all that is started from here has no more."""
    there = sorted(os.sched_getaffinity(0))
    if len(there) < cpus:
        raise BenchmarkError(f"{cpus} workers are to have a CPU each, and this process has {there}")
    os.sched_setaffinity(0, there[:cpus])
    return prepare_run(slide, model, cpus, {}, scratch, slides=slides)
