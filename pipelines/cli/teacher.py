"""`raypath teacher`: train a nuclei teacher, measure one, and find nuclei on slides with it."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.cli.bar import progress_bar
from pipelines.cli.looking import look_at_slides
from pipelines.cli.options import (
    Address,
    AsJson,
    Bfloat16,
    Device,
    Half,
    ImageCodec,
    ImageMpp,
    Mpp,
    Out,
    RunDevice,
    Slides,
    Workers,
    WorthRay,
    one_each,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from distill.teachers.card import AnyCard
    from distill.teachers.labelled import Labelled
    from distill.teachers.split import Fold

teacher = typer.Typer(no_args_is_help=True)


@teacher.callback()
def _teacher() -> None:
    """Nuclei teachers: networks that tell nuclei apart, trained on labelled images."""


@teacher.command()
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
    minutes: Annotated[
        float | None, typer.Option(help="How long to train.", show_default="60, without --steps")
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="How many steps at most.")] = None,
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
        typer.Option(help="µm per pixel to train at. Images of unknown resolution are taken so."),
    ] = 0.25,
    batch_size: Annotated[int, typer.Option(min=1, help="Crops a step.")] = 8,
    crop_px: Annotated[int, typer.Option(min=32, help="Edge of a crop, a multiple of 32.")] = 256,
    learning_rate: Annotated[float, typer.Option(help="The highest, after the warm-up.")] = 2e-3,
    variation: Annotated[
        float,
        typer.Option(
            min=0,
            help="How much crops vary in colour and size: 1 for tissue of other laboratories, less "
            "for tissue that looks like the labelled images.",
        ),
    ] = 1.0,
    device: Device = "cpu",
    bfloat16: Annotated[
        bool | None,
        typer.Option(help="Compute in bfloat16.", show_default="where the processor has it"),
    ] = None,
    workers: Annotated[
        int, typer.Option(min=0, help="Processes that make crops; 0: this one does.")
    ] = 1,
    half: Half = False,
    clumps_by: Annotated[
        Path | None,
        typer.Option(
            help="A teacher trained with the same --data, --validation or --fold, and --seed; it "
            "tells apart the nuclei of clumps in foreground/."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of split, weights and crops.")] = 0,
    licence: Annotated[
        str, typer.Option(help="Of the data; it binds the teacher and goes into its card.")
    ] = "not stated: find out before passing the teacher on",
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the training in --out.")
    ] = False,
) -> None:
    """Train a nuclei teacher; held-out cases decide which weights are kept and when to stop."""
    from distill.precision import has_fast_bfloat16
    from distill.teachers.predict import VIEWS
    from distill.teachers.read import read_labelled
    from distill.teachers.teacher import load_teacher
    from distill.teachers.train import TeacherSettings, train_teacher
    from distill.train import Schedule
    from pipelines.errors import UsageError
    from pipelines.labelled_job import begin_training

    if minutes is None and steps is None:
        minutes = 60.0
    if len({folder.name for folder in data}) < len(data):
        raise UsageError(f"--data: two folders have the same name: {', '.join(map(str, data))}")
    mpps = one_each(mpp or [], len(data), flag="--data")
    sources = {f.name: read_labelled(f, mpp=its) for f, its in zip(data, mpps, strict=True)}
    _say_assumed([i for of in sources.values() for i in of], train_mpp, whose="--train-mpp")
    settings = TeacherSettings(
        encoder=encoder,
        schedule=Schedule(
            steps=steps or 10**6,
            minutes=minutes or float("inf"),
            learning_rate=learning_rate,
        ),
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
    begin_training(out, settings, sources, resume=resume, clumps_by=divided_by)
    trained = train_teacher(
        sources,
        out,
        settings,
        licence=licence,
        clumps_by=divider,
        resume=resume,
        report=lambda line: typer.echo(line, err=True),
    )
    for source in trained.held_out:
        for how, measures in (
            ("as slides are seen", trained.held_out[source]),
            (f"mean of {VIEWS} views", trained.averaged[source]),
        ):
            values = ", ".join(f"{name} {estimate.mean:.3f}" for name, estimate in measures.items())
            typer.echo(f"held out of {source}, {how}: {values}", err=True)
    typer.echo(f"The teacher:  {out} ({trained.steps} steps)", err=True)


@teacher.command()
def label(
    tiles: Annotated[
        list[str], typer.Option(help="Folder of images, .npz, slide, or manifest; repeat it.")
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="A new folder of labelled images.")],
    mpp: ImageMpp = None,
    tile_mpp: Annotated[float, typer.Option(help="µm per pixel to label at.")] = 0.5,
    tile_px: Annotated[int, typer.Option(help="Edge of a tile.")] = 256,
    slide_tiles: Annotated[int, typer.Option(help="Most tiles from one slide.")] = 500,
    seed: Annotated[int, typer.Option(help="Of the choice among a slide's tiles.")] = 0,
) -> None:
    """Label nuclei by their haematoxylin, for a teacher where no human has labelled any.

    Look at the labels before training on them: in mucus and fat, and where the stain is dirty,
    threads and dirt are taken for nuclei.
    """
    from pipelines.pretraining.labelling import write_labelled
    from pipelines.pretraining.tiles import TileRequest, find_tiles
    from wsi.plan import TileSpec

    mpps = one_each(mpp or [], len(tiles), flag="--tiles")
    spec = TileSpec(size_px=tile_px, mpp=tile_mpp)
    places = find_tiles(tiles, mpps, TileRequest(spec=spec, slide_tiles=slide_tiles, seed=seed))
    with progress_bar("tiles", sum(map(len, places))) as advance:
        labelled = write_labelled(places, out, report=lambda seen: advance(seen, ""))
    typer.echo(f"The tiles:  {out} ({labelled} labelled)", err=True)


@teacher.command()
def evaluate(
    images: Annotated[Path, typer.Option(help="Folder of labelled images, as for train.")],
    weights: Annotated[Path, typer.Option(help="A teacher's folder, or the weights in it.")],
    mpp: Annotated[
        float | None, typer.Option(help="µm per pixel of the images, where they do not say it.")
    ] = None,
    turns: Annotated[
        int,
        typer.Option(min=1, max=8, help="Turned and mirrored views to average over; slides get 1."),
    ] = 8,
    device: Device = "cpu",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Measure a teacher: Dice, AJI, AJI+, DQ, SQ, PQ of each image, and means with intervals."""
    import json
    from dataclasses import asdict

    from distill.metrics import SCORE_NAMES, summarise
    from distill.teachers.card import read_teacher_card
    from distill.teachers.evaluate import evaluate_teacher
    from distill.teachers.read import read_labelled
    from distill.teachers.teacher import load_teacher

    say_teacher(read_teacher_card(weights))
    loaded, labelled = load_teacher(weights, device=device), read_labelled(images, mpp=mpp)
    _say_assumed(labelled, loaded.mpp, whose="the teacher's")
    scores = evaluate_teacher(loaded, labelled, turns=turns)
    summary = summarise(list(scores.values()))
    if as_json:
        answer = {
            "images": [
                {"image": name, **{k: _finite(v) for k, v in asdict(of).items()}}
                for name, of in scores.items()
            ],
            "mean": {name: _finite(estimate.mean) for name, estimate in summary.items()},
            "interval_95": {n: [_finite(e.low), _finite(e.high)] for n, e in summary.items()},
        }
        typer.echo(json.dumps(answer))
        return
    width = max(map(len, [*scores, "mean"]))
    typer.echo(" ".join([" " * width, *(f"{name:>13}" for name in SCORE_NAMES)]))
    for name, of_image in scores.items():
        values = (f"{value:13.3f}" for value in asdict(of_image).values())
        typer.echo(" ".join([f"{name:<{width}}", *values]))
    means = (f"{estimate.mean:13.3f}" for estimate in summary.values())
    typer.echo(" ".join([f"{'mean':<{width}}", *means]))
    spans = (f"{f'{e.low:.3f}-{e.high:.3f}':>13}" for e in summary.values())
    typer.echo(" ".join([f"{'95 %':<{width}}", *spans]))


@teacher.command()
def predict(
    slides: Slides,
    weights: Annotated[Path, typer.Option(help="A teacher's folder, or the weights in it.")],
    out: Out,
    mpp: Mpp = None,
    codec: ImageCodec = "auto",
    bfloat16: Bfloat16 = False,
    device: RunDevice = None,
    executor: WorthRay = None,
    workers: Workers = None,
    address: Address = None,
    as_json: AsJson = False,
) -> None:
    """Find the nuclei of whole slides: table, GeoJSON for QuPath, labels, density heatmap.

    Exit code 1 when a slide failed; the others are finished. The same command again goes on after
    an interruption, block by block.
    """
    from distill.teachers.card import read_teacher_card

    say_teacher(read_teacher_card(weights))
    flags = {
        "teacher": weights,
        "bfloat16": bfloat16,
        "device": device,
        "mpp": mpp,
        "codec": codec,
        "workers": workers,
        "address": address,
    }
    look_at_slides(slides, out, flags, executor=executor, as_json=as_json, unit="nuclei")


def say_teacher(card: "AnyCard") -> None:
    """Say which teacher it is, and under which licence: it binds what is made with it."""
    told = f"{card.architecture}, {card.mpp:g} µm/px, licence: {card.licence}"
    typer.echo(f"The teacher:  {told}", err=True)


def _say_assumed(images: "Sequence[Labelled]", mpp: float, *, whose: str) -> None:
    """Say of how many images the resolution is not known, and what it is taken for."""
    unsaid = sum(image.mpp is None for image in images)
    if unsaid:
        typer.echo(
            f"{unsaid} of {len(images)} images do not say how large their pixels are: taken as "
            f"{mpp:g} µm ({whose}); if that is wrong, give --mpp",
            err=True,
        )


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
    if folds is None or fold is None or fold >= folds:
        raise UsageError(
            f"--folds {folds} --fold {fold}: both are wanted, and a fold from 0 to one below the "
            "number of folds"
        )
    return Fold(number=fold, of=folds)


def _finite(value: float) -> float | None:
    """JSON has no NaN."""
    return value if math.isfinite(value) else None
