"""The demo: cohort, teacher, student, head, run and comparison with the truth, step by step."""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import nn

from cluster.executor import Executor
from distill.card import ModelCard, TileCard, TrainingCard
from distill.checkpoint import describe_encoder, save_weights
from distill.downstream.statistics import Interval
from distill.encoders import Encoder, create_backbone, encoder_of
from distill.label_maps import label_maps
from distill.objectives.objective import Maps, predict_nuclei
from distill.objectives.response_loss import ResponseLoss
from distill.origin import Origin
from distill.pretrain import pretrain
from distill.respond import teacher_of
from distill.responses import Responses, write_responses
from distill.tileset import TileSet
from distill.train import Schedule
from pipelines.config import RunConfig
from pipelines.demo.alignment import Alignment, measure_alignment
from pipelines.demo.truth import heatmap_auroc, held_out_auroc
from pipelines.errors import UsageError
from pipelines.manifest import Entry, read_manifest
from pipelines.mil.bags import Bag
from pipelines.mil.features import open_features
from pipelines.mil.training import TrainedHead, train_head
from pipelines.model import save_model
from pipelines.pretraining.tiles import read_places
from pipelines.records import SlideRecord, read_records
from pipelines.run import run_cohort
from pipelines.runfolder import RECORDS_NAME, SLIDES_NAME, TILES_NAME
from pipelines.sampling import place_in_slides
from wsi.atomic import remove, replacing
from wsi.plan import TileSpec
from wsi.testing import (
    CohortSlide,
    nuclei_crops,
    plan_cohort,
    write_cohort_slide,
    write_locating_slide,
    write_manifest,
)

SPEC = TileSpec(size_px=128, mpp=0.5)
TEACHER_PX = 256  # edge of the labelled crops
TEACHER = "regnetx_002"
STUDENT = "regnetx_002"
BATCH = 16
LOCATING_PX = 2048  # edge of the slide that says where it is: steps of 8 pixels, two levels
CHECKS = 2  # of each training; the demo shows the last
POSITIVE = "tumour"
LICENCE = "Apache-2.0 (made-up pixels, no patient's data)"


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
    if folder.exists() and any(folder.iterdir()) and not (folder / "slides").is_dir():
        raise UsageError(f"{folder} is not empty and no demo: choose another folder with --out")
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
        teacher = _train_teacher(settings)
    with step("pretrain the student (RCKD)"):
        unlabelled = [entry for entry in entries if entry.split == "train"]
        student = _pretrain(unlabelled, teacher.net, folder, settings)
    result.teacher_held_out, result.student_held_out = teacher.held_out, student.held_out
    encoder = encoder_of(
        student.backbone, identifier=f"{STUDENT}-rckd-demo", spec=SPEC, licence=LICENCE
    )
    card = _card(encoder, student)
    out, model = folder / "out", folder / "model"
    with step("pyramids and embeddings"):
        save_model(model, card, encoder)
        run_cohort(entries, out, RunConfig(model=model), executor)
    with step("train the MIL head"):
        head = _train_head(entries, out, settings.seed)
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
    with replacing(folder / "demo.json") as tmp:
        tmp.write_text(json.dumps(asdict(result), indent=1))
    return result


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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Trained:
    net: nn.Module
    backbone: nn.Module
    held_out: dict[str, float]


def _train_teacher(settings: DemoSettings) -> _Trained:
    # Other specimens than the cohort's: their seeds start far away.
    pixels, nuclei = nuclei_crops(
        count=settings.teacher_crops, size_px=TEACHER_PX, seed=settings.seed + 1000, mpp=SPEC.mpp
    )
    tiles = TileSet(
        seen=pixels,
        sources=np.arange(len(pixels)),
        spec=TileSpec(size_px=TEACHER_PX, mpp=SPEC.mpp),
        instances=nuclei,
    )
    labels, alone = label_maps(tiles), ResponseLoss(appearance=False)
    return _learn_nuclei(TEACHER, tiles, labels, settings.teacher_steps, settings.seed, alone)


def _pretrain(
    entries: Sequence[Entry], teacher: nn.Module, folder: Path, settings: DemoSettings
) -> _Trained:
    places = place_in_slides(entries, spec=SPEC, count=settings.student_tiles, seed=settings.seed)
    tiles = read_places(places)
    sha256 = save_weights(teacher, folder / "teacher.safetensors")
    origin = Origin(teacher_sha256=sha256, tile_px=SPEC.size_px, mpp=SPEC.mpp)
    responses = folder / "responses"
    remove(responses)  # of an earlier demo's teacher
    write_responses(responses, origin, teacher_of(teacher), tiles.seen)
    maps = Responses(responses, origin, origin.keys(tiles.seen))
    return _learn_nuclei(
        STUDENT, tiles, maps, settings.student_steps, settings.seed, ResponseLoss()
    )


def _learn_nuclei(
    architecture: str, tiles: TileSet, maps: Maps, steps: int, seed: int, loss: ResponseLoss
) -> _Trained:
    backbone = create_backbone(architecture, seed=seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # for the decoder's weights
        objective = predict_nuclei(backbone, tiles, maps, crop_px=SPEC.size_px, loss=loss)
    objective.model.to(memory_format=torch.channels_last)
    kept, held_out = tiles.split(seed)
    progress = pretrain(
        objective,
        kept,
        held_out,
        Schedule(steps=steps),
        batch_size=min(BATCH, len(kept)),
        seed=seed,
        checks=CHECKS,
    )
    return _Trained(net=objective.model, backbone=backbone, held_out=progress.checks[steps])


def _train_head(entries: Sequence[Entry], out: Path, seed: int) -> TrainedHead:
    bags = []
    for entry in entries:
        path = out / SLIDES_NAME / entry.ref.slide_id / TILES_NAME
        if entry.split in ("train", "tune") and path.is_file():
            bags.append(
                Bag(
                    slide_id=entry.ref.slide_id,
                    patient_id=entry.patient_id or entry.ref.slide_id,
                    target=entry.label or "",
                    split=entry.split,
                    read=open_features(path).read,
                )
            )
    return train_head(bags, positive=POSITIVE, seed=seed)


def _card(encoder: Encoder, student: _Trained) -> ModelCard:
    return ModelCard(
        encoder=describe_encoder(encoder, architecture=STUDENT),
        tile=TileCard(size_px=SPEC.size_px, mpp=SPEC.mpp),
        training=TrainingCard(
            data="raypath demo: made-up slides, of no use on real tissue",
            data_licence=LICENCE,
            method=f"RCKD-style, teacher {TEACHER} trained on made-up nuclei",
            measures={f"student_{k}_against_teacher": v for k, v in student.held_out.items()},
        ),
    )


def _finished(slides: Sequence[CohortSlide], records: Sequence[SlideRecord]) -> list[CohortSlide]:
    done = {record.slide_id for record in records if record.verdict != "failed"}
    return [slide for slide in slides if slide.slide_id in done]
