"""`raypath segment train`: a segmenter from labelled images, judged by cases that it never saw."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.cli.options import LEAST_MPP, MOST_MPP, Device
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
    from distill.segmentation.pseudo import SelfTeaching

Classes = Annotated[
    str | None,
    typer.Option(
        help="Names of the mask values 0, 1, 2 …, the background first: background,gland. "
        "Not needed with classes.csv or GlaS."
    ),
]
OneImageMpp = Annotated[
    float | None,
    typer.Option(
        min=LEAST_MPP,
        max=MOST_MPP,
        help="µm per pixel of the images, where their layout does not say it.",
    ),
]
PublishedSplit = Annotated[
    str | None, typer.Option("--split", help="Only the publisher's train or test images.")
]


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
    image_mpp: OneImageMpp = None,
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
    minutes: Minutes = None,
    steps: Steps = None,
    validation: Annotated[
        float, typer.Option(help="Share of the cases of each folder that is held out, 0-1.")
    ] = 0.2,
    mpp: Annotated[
        float | None,
        typer.Option(
            min=LEAST_MPP,
            max=MOST_MPP,
            help="µm per pixel to train at.",
            show_default="that of the first image",
        ),
    ] = None,
    batch_size: BatchSize = 8,
    crop_px: CropPx = 256,
    learning_rate: LearningRate = 1e-3,
    pseudo_label: Annotated[
        Path | None,
        typer.Option(
            help="Images without labels, to be labelled by the network and learned from; those "
            "of held-out cases are left out."
        ),
    ] = None,
    pseudo_mpp: Annotated[
        float | None,
        typer.Option(
            min=LEAST_MPP,
            max=MOST_MPP,
            help="µm per pixel of those.",
            show_default="that of the training",
        ),
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, help="How often they are labelled anew.")] = 1,
    confidence: Annotated[
        float, typer.Option(help="Least probability that a pixel is taken with, 0-1.")
    ] = 0.9,
    device: Device = "cpu",
    bfloat16: FastBfloat16 = None,
    workers: CropWorkers = 1,
    seed: TrainingSeed = 0,
    licence: Annotated[
        str | None,
        typer.Option(help="Of the data; it binds the segmenter and goes into its card."),
    ] = None,
    resume: Resume = False,
) -> None:
    """Train a segmenter; held-out cases decide which weights are kept and when to stop."""
    from distill.precision import has_fast_bfloat16
    from distill.segmentation.card import CARD_NAME, DECODERS
    from distill.segmentation.read import read_class_images
    from distill.segmentation.settings import SegmenterSettings
    from distill.segmentation.train import train_segmenter
    from pipelines.errors import UsageError
    from pipelines.locks.folder import held
    from pipelines.training.labelled import begin_training, describe_images
    from pipelines.training.resuming import refuse_finished

    if not resume:
        refuse_finished(out / CARD_NAME)
    if network is not None and network not in DECODERS:
        raise UsageError(f"--network {network}: known are {', '.join(DECODERS)}")
    if decoder not in ("fresh", "kept"):
        raise UsageError(f"--decoder {decoder}: known are fresh, kept")
    check_crop(crop_px)
    check_names_differ(data)
    named = class_names(classes)
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
        schedule=make_schedule(minutes, steps, learning_rate),
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
    say = partial(typer.echo, err=True)
    out.mkdir(parents=True, exist_ok=True)
    with held(out, say=say):
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
            report=say,
        )
    for of in trained.rounds[1:]:
        typer.echo(f"round {of.number}: held-out mIoU {of.merit:.3f}", err=True)
    typer.echo(f"held out: mIoU {trained.held_out.miou}, background included", err=True)
    typer.echo(f"The segmenter:  {out} ({trained.steps} steps)", err=True)


def class_names(classes: str | None) -> tuple[str, ...]:
    """The names in a list with commas."""
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
