"""A cohort by one worker and by two: how much of the second worker is gained."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.measure import Contender, measure_in_turns
from benchmarks.report import Report, Table, Verdict
from benchmarks.runs import prepare_run, write_model
from wsi.plan import TileSpec

ONE, TWO = "1 worker", "2 workers"
WANTED = 0.9
# Nothing of note is computed by the first, so that reading tiles is what takes the time.
ENCODERS = {"decode-bound": "mean-colour", "embed-bound": "resnet18"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterSettings:
    """A slide under `slides` names is measured; `tile_px` at `mpp` is what the encoder sees."""

    runs: int = 5
    slides: int = 4
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
        for job, architecture in ENCODERS.items():
            model = write_model(Path(made) / job, architecture, spec)
            contenders = [
                Contender(
                    name=name,
                    prepare=partial(prepare_run, slide, model, workers, {}, slides=settings.slides),
                    role="ours",
                )
                for name, workers in ((ONE, 1), (TWO, 2))
            ]
            results = measure_in_turns(
                contenders, runs=settings.runs, folder=settings.folder, say=say
            )
            table = Table(
                title=f"{settings.slides} slides, {job} ({architecture}); "
                "CPU and memory are the driver's",
                baseline=ONE,
                baseline_label=ONE,
                source_bytes=slide.stat().st_size,
                results=results,
            )
            one, two = table.find(ONE), table.find(TWO)
            efficiency = one.median / (2 * two.median) if one and two else None
            tables.append(table)
            claim = f"{job}: efficiency of two workers"
            verdicts.append(
                Verdict(claim=claim, bound="at least", wanted=WANTED, measured=efficiency)
            )
    return Report(subject=f"{slide.name}, a run on Ray", tables=tables, verdicts=verdicts)
