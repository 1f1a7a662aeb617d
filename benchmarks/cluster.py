"""One slide by one worker and by two: how much of the second worker is gained."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from time import sleep

from benchmarks.measure import BenchmarkError, Contender, Work, measure_in_turns
from benchmarks.report import Report, Table, Verdict
from cluster.ray_executor import RayExecutor
from distill.card import EncoderCard, ModelCard, TileCard, TrainingCard
from distill.encoders import create_encoder
from pipelines.config import RunConfig
from pipelines.manifest import Entry
from pipelines.model import load_model, save_model
from pipelines.run import run_cohort
from wsi.plan import TileSpec
from wsi.ref import SlideRef

ONE, TWO = "1 worker", "2 workers"
WANTED = 0.9
# Nothing of note is computed by the first, so that reading tiles is what takes the time.
ENCODERS = {"decode-bound": "mean-colour", "embed-bound": "resnet18"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterSettings:
    """What is measured; `tile_px` at `mpp` is what the encoder sees."""

    runs: int = 5
    tile_px: int = 224
    mpp: float = 0.5
    folder: Path | None = None


def measure_cluster(
    slide: Path, settings: ClusterSettings, *, say: Callable[[str], None] = lambda line: None
) -> Report:
    """Run a slide with Ray's workers, which are started and have their libraries before.

    Raises
    ------
    BenchmarkError
        If the slide does not get through.
    """
    tables, verdicts = [], []
    with TemporaryDirectory(dir=settings.folder, prefix="raypath-") as made:
        for job, architecture in ENCODERS.items():
            model = _write_model(Path(made) / job, architecture, settings)
            contenders = [
                Contender(name=name, prepare=partial(_prepare, slide, model, workers), role="ours")
                for name, workers in ((ONE, 1), (TWO, 2))
            ]
            results = measure_in_turns(
                contenders, runs=settings.runs, folder=settings.folder, say=say
            )
            table = Table(
                title=f"One slide, {job} ({architecture}); CPU and memory are the driver's",
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


def _write_model(folder: Path, architecture: str, settings: ClusterSettings) -> Path:
    """A model of random weights: it takes as long as a trained one."""
    spec = TileSpec(size_px=settings.tile_px, mpp=settings.mpp)
    encoder = create_encoder(architecture, spec=spec)
    card = ModelCard(
        encoder=EncoderCard(
            architecture=architecture,
            identifier=encoder.identifier,
            dim=encoder.dim,
            mean=encoder.mean,
            std=encoder.std,
            licence=encoder.licence,
        ),
        tile=TileCard(size_px=spec.size_px, mpp=spec.mpp),
        training=TrainingCard(data="none", data_licence="none", method="random", measures={}),
    )
    save_model(folder, card, encoder)
    return folder


def _prepare(slide: Path, model: Path, workers: int, scratch: Path) -> Work:
    executor = RayExecutor(workers=workers)
    # Each worker is busy for long enough that every other one has to start too.
    list(executor.map(partial(_warm_up, model), range(workers)))
    entry = Entry(ref=SlideRef.of(slide))
    config = RunConfig.model_validate({"model": model, "workers": workers, "quality": "off"})

    def work() -> None:
        counts = run_cohort([entry], scratch / "out", config, executor)
        if counts["failed"]:
            raise BenchmarkError(f"{slide} failed: see {scratch / 'out' / 'slides.parquet'}")

    return work


def _warm_up(model: Path, number: int) -> int:
    """Import and load what a block needs."""
    load_model(model)
    sleep(2)
    return number
