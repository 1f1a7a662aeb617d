"""Train a teacher on labelled images: split by case, judged on held-out cases, resumable."""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import torch

from distill.card import TrainingCard
from distill.checkpoint import load_weights
from distill.device import check_device
from distill.losses import instance_loss
from distill.metrics import Estimate, summarise
from distill.resample import at_mpp, resize_labels
from distill.seen import TEACHER_SEEN_NAME, list_images, write_seen
from distill.teachers.clumps import divide_clumps
from distill.teachers.crops import SCALE, Crops, Geometry, target_of
from distill.teachers.fit import fit
from distill.teachers.labelled import Labelled
from distill.teachers.network import TeacherNet
from distill.teachers.split import Fold, Sources, Split, split_by_case
from distill.teachers.teacher import Teacher, build_net, save_teacher
from distill.teachers.tune import score_all, tune
from distill.teachers.watch import (
    BEST_NAME,
    HELD_OUT_NAME,
    measure_nuclei,
    predict_held_out,
    write_csv,
)
from distill.train import Schedule
from distill.turned import VIEWS


@dataclass(frozen=True, slots=True, kw_only=True)
class TeacherSettings:
    """How a teacher is trained.

    Attributes
    ----------
    encoder
        A timm network.
    mpp
        Resolution to train at; images that say theirs are resampled to it.
    validation
        Share of the cases of each source that is held out, or a fold of them.
    crop_px, batch_size
        Edge of a crop, a multiple of 32, and crops a step.
    average_decay
        Of the moving average of the weights, which is what is kept.
    checks, patience
        How often in a training the held-out images are segmented, and after how many checks
        without a better result it ends early.
    turns
        Views to average over when the final thresholds are chosen, 1 to 8: slides are seen in one.
    workers
        Processes that make crops; 0 makes them in this one.
    variation
        How much the crops' colours and sizes vary: 1 for tissue of other laboratories.
    device
        What the network computes on, as torch names it.
    bfloat16
        Whether to compute in half precision where torch holds that safe.
    half
        Whether the weights are rounded to float16, before the thresholds are chosen, and written
        so.
    """

    encoder: str
    schedule: Schedule
    mpp: float = 0.25
    validation: float | Fold = 0.2
    crop_px: int = 256
    batch_size: int = 8
    average_decay: float = 0.999
    checks: int = 20
    patience: int = 8
    turns: int = 1
    workers: int = 1
    variation: float = 1.0
    device: str = "cpu"
    bfloat16: bool = False
    half: bool = False
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedTeacher:
    """What a training came to.

    Attributes
    ----------
    held_out
        By source, the measures on its held-out images, each seen in as many views as the
        thresholds were chosen for.
    averaged
        The same, over all `VIEWS`.
    """

    steps: int
    held_out: dict[str, dict[str, Estimate]]
    averaged: dict[str, dict[str, Estimate]]


def train_teacher(
    sources: Sources,
    folder: Path,
    settings: TeacherSettings,
    *,
    licence: str,
    clumps_by: Teacher | None = None,
    resume: bool = False,
    report: Callable[[str], None],
) -> TrainedTeacher:
    """Train, keep the best averaged weights, choose thresholds, and write the teacher's folder.

    Beside the teacher's card and weights, the folder gets `loss.csv` (a row a step),
    `metrics.csv` (a row a check), `held_out.csv` (a row a held-out image: its scores at the
    training's resolution) and what is needed to `resume`. The measures on the held-out
    images are those on which weights and thresholds were chosen: a little better than on others.

    `clumps_by` tells the nuclei of clumps apart in the images to learn from
    (`distill.teachers.clumps`). For the measures to hold, it must not know the held-out cases:
    train it with the same data, share or fold, and seed.

    Raises
    ------
    LabelledDataError
        If there is too little to learn from or to judge by.
    ModelError
        If there is no such encoder or device, or the checkpoint is of another training.
    """
    check_device(settings.device)
    resampled = {name: [_at_mpp(i, settings.mpp) for i in of] for name, of in sources.items()}
    split = split_by_case(resampled, validation=settings.validation, seed=settings.seed)
    if clumps_by is not None:
        split = replace(split, train=_divided(split.train, clumps_by, settings, report))
    folder.mkdir(parents=True, exist_ok=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        net, steps, seconds = _fit(split, folder, settings, resume=resume, report=report)
    load_weights(net, folder / BEST_NAME, sha256=None)
    if settings.half:
        net.half().float()
    look = partial(predict_held_out, net, split.held_out, bfloat16=settings.bfloat16)
    maps = look(turns=settings.turns)
    thresholds = tune(split.held_out, maps)
    scores = score_all(split.held_out, maps, thresholds)
    held_out = {source: summarise(of) for source, of in scores.items()}
    of_views = score_all(split.held_out, look(turns=VIEWS), thresholds)
    averaged = {source: summarise(of) for source, of in of_views.items()}
    write_csv(
        folder / HELD_OUT_NAME,
        (
            {"source": source, "image": image.name, "case": image.case} | asdict(of_image)
            for source, of in scores.items()
            for image, of_image in zip(split.held_out[source], of, strict=True)
        ),
    )
    save_teacher(
        net.cpu(),
        folder,
        architecture=settings.encoder,
        mpp=settings.mpp,
        thresholds=thresholds,
        training=TrainingCard(
            data=", ".join(f"{name} ({len(of)} images)" for name, of in sources.items()),
            data_licence=licence,
            method=f"supervised, {steps} steps of {settings.batch_size} crops of "
            f"{settings.crop_px} px at {settings.mpp:g} µm, seed {settings.seed}"
            + (f", clumps divided by teacher {clumps_by.sha256[:12]}" if clumps_by else ""),
            measures={
                f"{source}_held_out_{how}{name}": round(estimate.mean, 4)
                for how, measures in (("", held_out), (f"{VIEWS}_views_", averaged))
                for source, estimates in measures.items()
                for name, estimate in estimates.items()
                if math.isfinite(estimate.mean)
            }
            | {"training_seconds": round(seconds, 1)},
        ),
        half=settings.half,
    )
    write_seen(
        folder / TEACHER_SEEN_NAME, list_images(i.pixels for of in sources.values() for i in of)
    )
    return TrainedTeacher(steps=steps, held_out=held_out, averaged=averaged)


def _fit(
    split: Split[Labelled],
    folder: Path,
    settings: TeacherSettings,
    *,
    resume: bool,
    report: Callable[[str], None],
) -> tuple[TeacherNet, int, float]:
    net = build_net(settings.encoder, seed=settings.seed).to(settings.device)
    samples = [(image.pixels, image.instances) for image in split.train]
    smallest, largest = SCALE
    geometry = Geometry(scale=(smallest**settings.variation, largest**settings.variation))

    def crops(first: int, count: int) -> Crops:
        return Crops(
            samples,
            target_of,
            size_px=settings.crop_px,
            first=first,
            count=count,
            seed=settings.seed,
            geometry=geometry,
            colour=settings.variation,
        )

    state = fit(
        net,
        crops,
        instance_loss,
        partial(measure_nuclei, held_out=split.held_out, bfloat16=settings.bfloat16),
        folder,
        settings,
        resume=resume,
        report=report,
    )
    return net, state.step, state.seconds


def _divided(
    images: Sequence[Labelled],
    teacher: Teacher,
    settings: TeacherSettings,
    report: Callable[[str], None],
) -> list[Labelled]:
    divide = partial(divide_clumps, teacher=teacher, turns=VIEWS, bfloat16=settings.bfloat16)
    divided = [divide(image) for image in images]
    count = sum(new is not old for new, old in zip(divided, images, strict=True))
    report(f"clumps divided in {count} of {len(images)} images to learn from")
    return divided


def _at_mpp(image: Labelled, mpp: float) -> Labelled:
    pixels = at_mpp(image.pixels, mpp=image.mpp, wanted=mpp)
    instances = resize_labels(image.instances, (pixels.shape[0], pixels.shape[1]))
    return replace(image, pixels=pixels, instances=instances, mpp=mpp)
