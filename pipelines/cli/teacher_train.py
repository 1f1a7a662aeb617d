"""`raypath teacher train`: a teacher from labelled nuclei, judged by cases that it never saw."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.cli.options import LEAST_MPP, MOST_MPP, Device, Half, ImageMpp, one_each
from pipelines.cli.teacher_messages import say_assumed
from pipelines.cli.training import (
    BatchSize,
    CropPx,
    CropWorkers,
    FastBfloat16,
    LearningRate,
    Minutes,
    Resume,
    Steps,
    TrainingSeed,
    check_crop,
    check_names_differ,
    make_schedule,
)

if TYPE_CHECKING:
    from distill.teachers.split import Fold


def train(
    data: Annotated[
        list[Path],
        typer.Option(
            help="Folder of labelled images: images/ + instances/ (or foreground/), MoNuSeg, "
            "DSB 2018, PanNuke or CoNSeP; repeat it for several."
        ),
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the teacher.")],
    encoder: Annotated[str, typer.Option(help="Any convolutional network of timm.")] = "resnet18",
    minutes: Minutes = None,
    steps: Steps = None,
    validation: Annotated[
        float | None,
        typer.Option(
            help="Share of the cases of each folder that is held out, 0-1.",
            show_default="0.2, without --folds",
        ),
    ] = None,
    folds: Annotated[
        int | None,
        typer.Option(min=2, help="Hold out one of so many parts of the cases of each folder."),
    ] = None,
    fold: Annotated[int | None, typer.Option(min=0, help="Which of --folds, from 0.")] = None,
    mpp: ImageMpp = None,
    train_mpp: Annotated[
        float,
        typer.Option(
            min=LEAST_MPP,
            max=MOST_MPP,
            help="µm per pixel to train at. Images of unknown resolution are taken so.",
        ),
    ] = 0.25,
    batch_size: BatchSize = 8,
    crop_px: CropPx = 256,
    learning_rate: LearningRate = 2e-3,
    variation: Annotated[
        float,
        typer.Option(
            min=0,
            help="How much crops vary in colour and size: 1 for tissue of other laboratories, less "
            "for tissue that looks like the labelled images.",
        ),
    ] = 1.0,
    device: Device = "cpu",
    bfloat16: FastBfloat16 = None,
    workers: CropWorkers = 1,
    half: Half = False,
    clumps_by: Annotated[
        Path | None,
        typer.Option(
            help="A teacher trained with the same --data, --validation or --fold, and --seed; it "
            "tells apart the nuclei of clumps in foreground/."
        ),
    ] = None,
    seed: TrainingSeed = 0,
    licence: Annotated[
        str, typer.Option(help="Of the data; it binds the teacher and goes into its card.")
    ] = "not stated: find out before passing the teacher on",
    resume: Resume = False,
) -> None:
    """Train a nuclei teacher; held-out cases decide which weights are kept and when to stop."""
    from distill.precision import has_fast_bfloat16
    from distill.teachers.card import CARD_NAME
    from distill.teachers.read import read_labelled
    from distill.teachers.teacher import load_teacher
    from distill.teachers.train import TeacherSettings, train_teacher
    from distill.turned import VIEWS
    from pipelines.locks.folder import held
    from pipelines.training.labelled import begin_training
    from pipelines.training.resuming import refuse_finished

    if not resume:
        refuse_finished(out / CARD_NAME)
    check_crop(crop_px)
    check_names_differ(data)
    mpps = one_each(mpp or [], len(data), flag="--data")
    sources = {f.name: read_labelled(f, mpp=its) for f, its in zip(data, mpps, strict=True)}
    say_assumed([i for of in sources.values() for i in of], train_mpp, whose="--train-mpp")
    settings = TeacherSettings(
        encoder=encoder,
        schedule=make_schedule(minutes, steps, learning_rate),
        mpp=train_mpp,
        validation=_held_out(validation, folds, fold),
        crop_px=crop_px,
        batch_size=batch_size,
        workers=workers,
        variation=variation,
        device=device,
        bfloat16=has_fast_bfloat16() if bfloat16 is None else bfloat16,
        half=half,
        seed=seed,
    )
    divider = load_teacher(clumps_by, device=device) if clumps_by else None
    divided_by = divider.sha256 if divider else None
    say = partial(typer.echo, err=True)
    out.mkdir(parents=True, exist_ok=True)
    with held(out, say=say):
        begin_training(out, settings, sources, resume=resume, clumps_by=divided_by)
        trained = train_teacher(
            sources,
            out,
            settings,
            licence=licence,
            clumps_by=divider,
            resume=resume,
            report=say,
        )
    for source in trained.held_out:
        for how, measures in (
            ("as slides are seen", trained.held_out[source]),
            (f"mean of {VIEWS} views", trained.averaged[source]),
        ):
            values = ", ".join(f"{name} {estimate.mean:.3f}" for name, estimate in measures.items())
            typer.echo(f"held out of {source}, {how}: {values}", err=True)
    typer.echo(f"The teacher:  {out} ({trained.steps} steps)", err=True)


def _held_out(validation: float | None, folds: int | None, fold: int | None) -> "float | Fold":
    """What `train` holds out: a share of the cases, or a fold of them."""
    from distill.teachers.split import Fold
    from pipelines.errors import UsageError

    if folds is None and fold is None:
        return 0.2 if validation is None else validation
    if validation is not None:
        raise UsageError(
            f"--validation {validation:g} is for one training, --folds for several that take "
            "turns: leave one out"
        )
    if folds is None or fold is None:
        missing = "--folds" if folds is None else "--fold"
        raise UsageError(f"{missing} is missing: --folds 5 --fold 0 is the first of five trainings")
    if fold >= folds:
        raise UsageError(f"--fold {fold}: of {folds} folds the last is {folds - 1}")
    return Fold(number=fold, of=folds)
