"""`raypath segment evaluate`: a segmenter beside what people labelled."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines.cli.segment_train import Classes, OneImageMpp, PublishedSplit, class_names

if TYPE_CHECKING:
    from distill.segmentation.scores import ImageScores, Summary


def evaluate(
    images: Annotated[Path, typer.Option(help="Folder of labelled images, as for train.")],
    weights: Annotated[Path, typer.Option(help="A segmenter's folder, or the weights in it.")],
    classes: Classes = None,
    image_mpp: OneImageMpp = None,
    split: PublishedSplit = None,
    turns: Annotated[
        int, typer.Option(min=1, max=8, help="Turned and mirrored views to average over.")
    ] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Measure a segmenter: mIoU and Dice of pixels; F1, Dice and Hausdorff distance of objects.

    Intervals are from resampling patients. Patients that the segmenter has learned from, or whose
    images its weights were chosen by, are named.
    """
    import json

    from distill.segmentation.evaluate import cases_seen, evaluate_segmenter
    from distill.segmentation.read import read_class_images
    from distill.segmentation.scores import summarise_images
    from distill.segmentation.segmenter import load_segmenter

    segmenter = load_segmenter(weights)
    data = read_class_images(images, classes=class_names(classes), mpp=image_mpp)
    data = data.of_split(split) if split else data
    scores = evaluate_segmenter(segmenter, data, turns=turns)
    seen = cases_seen(weights, [of.case for of in scores])
    summary = summarise_images(scores, data.classes)
    if as_json:
        typer.echo(json.dumps(_as_json(summary, scores, seen, data.classes)))
        return
    _print_summary(summary, data.classes)
    if seen:
        typer.echo(
            f"{sum(of.case in seen for of in scores)} of {len(scores)} images are of patients that "
            f"were trained on or chosen by ({len(seen)} of {summary.n_cases}): the numbers are too "
            "good",
            err=True,
        )


def _print_summary(summary: "Summary", classes: tuple[str, ...]) -> None:
    every = f"all {len(classes)} classes, {classes[0]} included"
    rows: list[tuple[str, object]] = [
        (f"mIoU of {every}", summary.miou),
        (f"mIoU without {classes[0]}", summary.miou_foreground),
        *((f"IoU {name}", value) for name, value in summary.iou.items()),
        *((f"Dice {name}", value) for name, value in summary.dice.items()),
        *((f"object F1 {name}", value) for name, value in summary.object_f1.items()),
        *((f"object Dice {name}", value) for name, value in summary.object_dice.items()),
        *(
            (
                f"object Hausdorff {name} (px)",
                f"{value}, of {summary.object_hausdorff_images[name]} of "
                f"{summary.object_images[name]} images",
            )
            for name, value in summary.object_hausdorff_px.items()
        ),
    ]
    width = max(len(title) for title, _ in rows)
    typer.echo(f"{summary.n_images} images of {summary.n_cases} patients")
    for title, value in rows:
        typer.echo(f"{title:<{width}}  {value}")


def _as_json(
    summary: "Summary", scores: "list[ImageScores]", seen: frozenset[str], classes: tuple[str, ...]
) -> dict[str, Any]:
    import math
    from dataclasses import asdict

    def plain(value: Any) -> Any:
        """JSON has no NaN."""
        if isinstance(value, dict):
            return {key: plain(part) for key, part in value.items()}
        return None if isinstance(value, float) and not math.isfinite(value) else value

    answer: dict[str, Any] = plain(asdict(summary))
    answer |= {"classes": list(classes), "background": classes[0]}
    answer["images"] = [
        {
            "image": of.name,
            "case": of.case,
            "seen_in_training": of.case in seen,
            "confusion": of.confusion.tolist(),
            "objects": plain({name: asdict(objects) for name, objects in of.objects.items()}),
        }
        for of in scores
    ]
    return answer
