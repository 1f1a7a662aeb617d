"""`raypath segment`: train a network that classifies pixels, measure it, and run it on slides."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines.cli.looking import look_at_slides
from pipelines.cli.options import (
    Address,
    AsJson,
    Bfloat16,
    Device,
    ImageCodec,
    Mpp,
    Out,
    RunDevice,
    Slides,
    Workers,
    WorthRay,
)

if TYPE_CHECKING:
    from distill.segmentation.pseudo import SelfTeaching
    from distill.segmentation.scores import ImageScores, Summary

segment = typer.Typer(no_args_is_help=True)

Classes = Annotated[
    str | None,
    typer.Option(
        help="Names of the mask values 0, 1, 2 …, the background first: background,gland. "
        "Not needed with classes.csv or GlaS."
    ),
]
ImageMpp = Annotated[
    float | None,
    typer.Option(help="µm per pixel of the images, where their layout does not say it."),
]
PublishedSplit = Annotated[
    str | None, typer.Option("--split", help="Only the publisher's train or test images.")
]
Weights = Annotated[Path, typer.Option(help="A segmenter's folder, or the weights in it.")]


@segment.callback()
def _segment() -> None:
    """Tissue segmentation: a class for every pixel of an image or a slide."""


@segment.command()
def train(
    data: Annotated[
        list[Path],
        typer.Option(
            help="Folder of labelled images: images/ + masks/, or GlaS as published; repeat it "
            "for several with the same classes."
        ),
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the segmenter.")],
    classes: Classes = None,
    image_mpp: ImageMpp = None,
    split: PublishedSplit = None,
    encoder: Annotated[
        str, typer.Option(help="Any convolutional network of timm, or a pretrained model's folder.")
    ] = "resnet18",
    network: Annotated[
        str | None,
        typer.Option(help="unet, or fpn, the light one.", show_default="fpn on a model, else unet"),
    ] = None,
    decoder: Annotated[
        str,
        typer.Option(help="fresh, or kept: that of a model pretrained on nuclei, but for the end."),
    ] = "fresh",
    name: Annotated[
        str, typer.Option(help="Of the label image that it writes for slides.")
    ] = "segmentation",
    minutes: Annotated[
        float | None, typer.Option(help="How long to train.", show_default="60, without --steps")
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="How many steps at most.")] = None,
    validation: Annotated[
        float, typer.Option(help="Share of the cases of each folder that is held out, 0-1.")
    ] = 0.2,
    mpp: Annotated[
        float | None,
        typer.Option(help="µm per pixel to train at.", show_default="that of the first image"),
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Crops a step.")] = 8,
    crop_px: Annotated[int, typer.Option(min=32, help="Edge of a crop, a multiple of 32.")] = 256,
    learning_rate: Annotated[float, typer.Option(help="The highest, after the warm-up.")] = 1e-3,
    pseudo_label: Annotated[
        Path | None,
        typer.Option(help="Images without labels, to be labelled by the network and learned from."),
    ] = None,
    pseudo_mpp: Annotated[
        float | None,
        typer.Option(help="µm per pixel of those.", show_default="that of the training"),
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, help="How often they are labelled anew.")] = 1,
    confidence: Annotated[
        float, typer.Option(help="Least probability that a pixel is taken with, 0-1.")
    ] = 0.9,
    device: Device = "cpu",
    bfloat16: Annotated[
        bool | None,
        typer.Option(help="Compute in bfloat16.", show_default="where the processor has it"),
    ] = None,
    workers: Annotated[
        int, typer.Option(min=0, help="Processes that make crops; 0: this one does.")
    ] = 1,
    seed: Annotated[int, typer.Option(help="Of split, weights and crops.")] = 0,
    licence: Annotated[
        str | None,
        typer.Option(help="Of the data; it binds the segmenter and goes into its card."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the training in --out.")
    ] = False,
) -> None:
    """Train a segmenter; held-out cases decide which weights are kept and when to stop."""
    from distill.precision import has_fast_bfloat16
    from distill.segmentation.card import DECODERS
    from distill.segmentation.read import read_class_images
    from distill.segmentation.train import SegmenterSettings, train_segmenter
    from distill.train import Schedule
    from pipelines.errors import UsageError
    from pipelines.labelled_job import begin_training, describe_images

    if minutes is None and steps is None:
        minutes = 60.0
    if network is not None and network not in DECODERS:
        raise UsageError(f"--network {network}: known are {', '.join(DECODERS)}")
    if decoder not in ("fresh", "kept"):
        raise UsageError(f"--decoder {decoder}: known are fresh, kept")
    if crop_px % 32:
        raise UsageError(f"--crop-px {crop_px}: a multiple of 32 is wanted")
    if len({folder.name for folder in data}) < len(data):
        raise UsageError(f"--data: two folders have the same name: {', '.join(map(str, data))}")
    named = _names(classes)
    sources = {f.name: read_class_images(f, classes=named, mpp=image_mpp) for f in data}
    if split is not None:
        sources = {n: of.of_split(split) for n, of in sources.items()}
    if len({of.classes for of in sources.values()}) > 1:
        told = "; ".join(f"{n}: {', '.join(of.classes)}" for n, of in sources.items())
        raise UsageError(f"--data: the folders have different classes: {told}")
    first = next(iter(sources.values()))
    wanted_mpp = mpp or first.images[0].mpp
    if wanted_mpp is None:
        raise UsageError(
            "nothing says how large a pixel of the images is: give --image-mpp, µm per pixel"
        )
    told_licence = "; ".join(sorted({of.licence for of in sources.values() if of.licence}))
    settings = SegmenterSettings(
        encoder=encoder,
        decoder=network,  # type: ignore[arg-type]
        keep_decoder=decoder == "kept",
        name=name,
        schedule=Schedule(
            steps=steps or 10**6,
            minutes=minutes or float("inf"),
            learning_rate=learning_rate,
        ),
        mpp=wanted_mpp,
        validation=validation,
        crop_px=crop_px,
        batch_size=batch_size,
        workers=workers,
        device=device,
        bfloat16=has_fast_bfloat16() if bfloat16 is None else bfloat16,
        seed=seed,
    )
    teaching = _teaching(pseudo_label, pseudo_mpp or wanted_mpp, rounds, confidence)
    begin_training(
        out,
        settings,
        {name: of.images for name, of in sources.items()},
        resume=resume,
        classes=first.classes,
        teaching=teaching
        and {
            "data": describe_images(teaching.images),
            "rounds": teaching.rounds,
            "confidence": teaching.confidence,
        },
    )
    trained = train_segmenter(
        sources,
        out,
        settings,
        licence=licence or told_licence or "not stated: find out before passing it on",
        teaching=teaching,
        resume=resume,
        report=lambda line: typer.echo(line, err=True),
    )
    for of in trained.rounds[1:]:
        typer.echo(f"round {of.number}: held-out mIoU {of.merit:.3f}", err=True)
    typer.echo(f"held out: mIoU {trained.held_out.miou}, background included", err=True)
    typer.echo(f"The segmenter:  {out} ({trained.steps} steps)", err=True)


@segment.command()
def evaluate(
    images: Annotated[Path, typer.Option(help="Folder of labelled images, as for train.")],
    weights: Weights,
    classes: Classes = None,
    image_mpp: ImageMpp = None,
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
    data = read_class_images(images, classes=_names(classes), mpp=image_mpp)
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


@segment.command()
def run(
    slides: Slides,
    weights: Weights,
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
    """Segment the tissue of whole slides: labels, outlines for QuPath, areas in mm², picture.

    Exit code 1 when a slide failed; the others are finished. The same command again goes on after
    an interruption, block by block.
    """
    flags = {
        "segmenter": weights,
        "bfloat16": bfloat16,
        "device": device,
        "mpp": mpp,
        "codec": codec,
        "workers": workers,
        "address": address,
    }
    look_at_slides(slides, out, flags, executor=executor, as_json=as_json, unit="mm²")


def _names(classes: str | None) -> tuple[str, ...]:
    return tuple(name.strip() for name in classes.split(",")) if classes else ()


def _teaching(
    folder: Path | None, mpp: float, rounds: int, confidence: float
) -> "SelfTeaching | None":
    from distill.segmentation.pseudo import SelfTeaching
    from distill.segmentation.read import read_unlabelled
    from pipelines.errors import UsageError

    if folder is None:
        return None
    if not 0 < confidence < 1:
        raise UsageError(f"--confidence {confidence}: between 0 and 1 is wanted")
    images = read_unlabelled(folder, mpp=mpp)
    return SelfTeaching(images=images, rounds=rounds, confidence=confidence)


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
