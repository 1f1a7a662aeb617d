"""`raypath teacher evaluate`: a teacher beside what people labelled."""

import math
from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli.options import LEAST_MPP, MOST_MPP, Device
from pipelines.cli.teacher_messages import say_assumed, say_teacher


def evaluate(
    images: Annotated[Path, typer.Option(help="Folder of labelled images, as for train.")],
    weights: Annotated[Path, typer.Option(help="A teacher's folder, or the weights in it.")],
    mpp: Annotated[
        float | None,
        typer.Option(
            min=LEAST_MPP,
            max=MOST_MPP,
            help="µm per pixel of the images, where they do not say it.",
        ),
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
    say_assumed(labelled, loaded.mpp, whose="the teacher's")
    scores = evaluate_teacher(loaded, labelled, turns=turns)
    summary = summarise([of for _, of in scores], cases=[image.case for image, _ in scores])
    if as_json:
        answer = {
            "images": [
                {"image": image.name, **{k: _finite(v) for k, v in asdict(of).items()}}
                for image, of in scores
            ],
            "mean": {name: _finite(estimate.mean) for name, estimate in summary.items()},
            "interval_95": {n: [_finite(e.low), _finite(e.high)] for n, e in summary.items()},
        }
        typer.echo(json.dumps(answer))
        return
    width = max(len("mean"), *(len(image.name) for image, _ in scores))
    typer.echo(" ".join([" " * width, *(f"{name:>13}" for name in SCORE_NAMES)]))
    for image, of in scores:
        values = (f"{value:13.3f}" for value in asdict(of).values())
        typer.echo(" ".join([f"{image.name:<{width}}", *values]))
    means = (f"{estimate.mean:13.3f}" for estimate in summary.values())
    typer.echo(" ".join([f"{'mean':<{width}}", *means]))
    spans = (f"{f'{e.low:.3f}-{e.high:.3f}':>13}" for e in summary.values())
    typer.echo(" ".join([f"{'95 %':<{width}}", *spans]))


def _finite(value: float) -> float | None:
    """JSON has no NaN."""
    return value if math.isfinite(value) else None
