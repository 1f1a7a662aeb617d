"""The demo: cohort, teacher, student, head, run and comparison with the truth, step by step."""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from cluster.executor import Executor
from distill.downstream.statistics import Interval
from distill.encoders import encoder_of
from pipelines.cohort.manifest import read_manifest
from pipelines.demo.alignment import Alignment, measure_alignment
from pipelines.demo.models import (
    LICENCE,
    POSITIVE,
    SPEC,
    STUDENT,
    pretrain_student,
    student_card,
    train_on_slides,
    train_teacher,
)
from pipelines.demo.truth import heatmap_auroc, held_out_auroc
from pipelines.errors import UsageError
from pipelines.model import save_model
from pipelines.records import SlideRecord, read_records
from pipelines.run import run_cohort
from pipelines.runfolder import RECORDS_NAME
from pipelines.settings.config import RunConfig
from wsi.atomic import replacing
from wsi.testing import (
    CohortSlide,
    plan_cohort,
    write_cohort_slide,
    write_locating_slide,
    write_manifest,
)

RESULT_NAME = "demo.json"  # what was measured; {} until then: it marks a demo's folder
LOCATING_PX = 2048  # edge of the slide that says where it is: steps of 8 pixels, two levels


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoSettings:
    """How large the demo is; the defaults fit five minutes on two cores.

    Attributes
    ----------
    patients, size_px, large_px
        The cohort: one slide a patient of about `size_px`, and one of `large_px` pixels square.
    teacher_crops, teacher_steps
        Labelled crops the teacher is trained on, and for how long.
    student_tiles, student_steps
        Unlabelled tiles the student is pretrained on, and for how long.
    """

    patients: int = 64
    size_px: int = 2048
    large_px: int | None = 20_000
    teacher_crops: int = 240
    teacher_steps: int = 160
    student_tiles: int = 1920
    student_steps: int = 400
    seed: int = 0


@dataclass(slots=True, kw_only=True)
class DemoResult:
    """What the demo measured."""

    counts: dict[str, int] = field(default_factory=dict)
    auroc: Interval | None = None
    heatmap_auroc: float = float("nan")
    alignment: Alignment | None = None
    teacher_held_out: dict[str, float] = field(default_factory=dict)
    student_held_out: dict[str, float] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)


def run_demo(
    folder: Path, settings: DemoSettings, executor: Executor, *, say: Callable[[str], None]
) -> DemoResult:
    """Run the whole chain into `folder`; `model/` and `out/` are what one looks at afterwards.

    Raises
    ------
    UsageError
        If `folder` holds something that is not a demo.
    """
    _mark(folder)
    result = DemoResult()

    @contextmanager
    def step(name: str) -> Iterator[None]:
        say(f"{name} …")
        started = time.perf_counter()
        yield
        result.seconds[name] = round(time.perf_counter() - started, 1)

    with step("make the cohort"):
        slides = _make_cohort(folder / "slides", settings, executor)
    entries = read_manifest(folder / "slides" / "manifest.csv")
    with step("train the nuclei teacher"):
        teacher = train_teacher(
            crops=settings.teacher_crops, steps=settings.teacher_steps, seed=settings.seed
        )
    with step("pretrain the student (RCKD)"):
        unlabelled = [entry for entry in entries if entry.split == "train"]
        student = pretrain_student(
            unlabelled,
            teacher.net,
            folder,
            tiles=settings.student_tiles,
            steps=settings.student_steps,
            seed=settings.seed,
        )
    result.teacher_held_out, result.student_held_out = teacher.held_out, student.held_out
    encoder = encoder_of(
        student.backbone, identifier=f"{STUDENT}-rckd-demo", spec=SPEC, licence=LICENCE
    )
    card = student_card(encoder, student)
    out, model = folder / "out", folder / "model"
    with step("pyramids and embeddings"):
        save_model(model, card, encoder)
        run_cohort(entries, out, RunConfig(model=model), executor)
    with step("train the MIL head"):
        head = train_on_slides(entries, out, seed=settings.seed)
        save_model(model, card, encoder, head)
    with step("predictions and heatmaps"):
        result.counts = run_cohort(entries, out, RunConfig(model=model), executor)
    with step("compare with the truth"):
        records = read_records(out / RECORDS_NAME)
        path = folder / "alignment" / "locating.svs"
        locating = write_locating_slide(path, width=LOCATING_PX, height=LOCATING_PX)
        result.alignment = measure_alignment(folder / "alignment", slide=locating, spec=SPEC)
        result.auroc = held_out_auroc(records, positive=POSITIVE)
        test = [s for s in slides if s.split == "test" and s.label == POSITIVE]
        result.heatmap_auroc = heatmap_auroc(_finished(test, records), out)
    with replacing(folder / RESULT_NAME) as tmp:
        tmp.write_text(json.dumps(asdict(result), indent=1))
    return result


def _mark(folder: Path) -> None:
    """Mark `folder` as a demo's before anything else is written to it; one that is marked stays."""
    mark = folder / RESULT_NAME
    if mark.is_file():
        return
    if folder.exists() and any(folder.iterdir()):
        raise UsageError(
            f"{folder} is not empty and has no {RESULT_NAME}, so it is no demo's: choose another "
            "folder with --out"
        )
    folder.mkdir(parents=True, exist_ok=True)
    mark.write_text("{}")


def _make_cohort(
    folder: Path, settings: DemoSettings, executor: Executor
) -> tuple[CohortSlide, ...]:
    slides = plan_cohort(
        folder.resolve(),
        patients=settings.patients,
        slides_per_patient=1,
        size_px=settings.size_px,
        large_px=settings.large_px,
        seed=settings.seed,
    )
    folder.mkdir(parents=True, exist_ok=True)
    largest_first = sorted(slides, key=lambda s: s.specimen.width, reverse=True)
    for outcome in executor.map(write_cohort_slide, largest_first):
        if outcome.failure:
            raise RuntimeError(f"{outcome.item.slide_id}: {outcome.failure.trace}")
    write_manifest(folder.resolve(), slides)
    return slides


def _finished(slides: Sequence[CohortSlide], records: Sequence[SlideRecord]) -> list[CohortSlide]:
    done = {record.slide_id for record in records if record.verdict != "failed"}
    return [slide for slide in slides if slide.slide_id in done]
