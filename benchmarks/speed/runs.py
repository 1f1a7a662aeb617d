"""A whole run of raypath as something to measure, with a model of random weights."""

from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from time import sleep
from typing import Any

from benchmarks.speed.measure import BenchmarkError, Work
from cluster.ray_executor import RayExecutor
from cluster.serial import SerialExecutor
from distill.card import read_card
from distill.encoders import create_encoder
from pipelines.cohort.manifest import Entry
from pipelines.mil.heads.registry import create_head
from pipelines.mil.training import TrainedHead
from pipelines.model import save_untrained
from pipelines.run import run_cohort
from pipelines.runfolder import SLIDES_NAME, TILES_NAME
from pipelines.settings.config import RunConfig
from wsi.plan import TileSpec
from wsi.ref import SlideRef
from wsi.testing import Specimen, write_slide
from wsi.tilestore import read_tiles

WARM_PX = 1000  # edge of the slide that a worker does first
WARM_S = 2.0


def write_model(
    folder: Path, architecture: str, spec: TileSpec, *, head: str | None = None
) -> Path:
    """A model of random weights, which takes as long as a trained one; perhaps with a head."""
    trained = None
    if head is not None:
        trained = TrainedHead(
            kind=head,
            head=create_head(head, create_encoder(architecture, spec=spec).dim, 2, {}),
            classes=("normal", "tumour"),
            positive="tumour",
            threshold=0.5,
            n_tune=0,
            tune_loss=[],
            train_loss=[],
        )
    save_untrained(folder, architecture, spec, trained)
    return folder


def prepare_run(
    slide: Path,
    model: Path,
    workers: int,
    settings: dict[str, Any],
    scratch: Path,
    *,
    slides: int = 1,
) -> Work:
    """A run of a slide by Ray's workers, each of which has done a small slide before.

    With more `slides` it is a cohort of that slide under as many names. The work gives the number
    of tiles that were embedded.
    """
    executor = RayExecutor(workers=workers)
    # It takes each worker long enough that every other one has to start too.
    for outcome in executor.map(partial(_warm_up, model), range(workers)):
        if outcome.failure:
            raise BenchmarkError(f"no worker could be warmed up: {outcome.failure.message}")
    entries = [
        Entry(ref=SlideRef(path=slide, slide_id=f"{slide.stem}-{number}"))
        for number in range(slides)
    ]
    config = RunConfig.model_validate(
        {"model": model, "workers": workers, "quality": "off"} | settings
    )

    def work() -> int:
        out = scratch / "out"
        counts = run_cohort(entries, out, config, executor)
        if counts["failed"]:
            raise BenchmarkError(f"{slide} failed: see {out / 'slides.parquet'}")
        folders = (out / SLIDES_NAME / entry.ref.slide_id for entry in entries)
        return sum(len(read_tiles(folder / TILES_NAME).coords) for folder in folders)

    return work


def _warm_up(model: Path, number: int) -> None:
    """Import and load what a slide needs, by doing one."""
    with TemporaryDirectory() as folder:
        mpp = read_card(model).tile.mpp
        made = Specimen(seed=number, width=WARM_PX, height=WARM_PX, mpp=mpp)
        entry = Entry(ref=SlideRef.of(write_slide(Path(folder) / "made.svs", made)))
        config = RunConfig.model_validate({"model": model, "quality": "off"})
        run_cohort([entry], Path(folder) / "out", config, SerialExecutor())
    sleep(WARM_S)
