"""Train a segmenter: split by case, judged on held-out cases, resumable, perhaps self-taught."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from distill.card import TrainingCard
from distill.checkpoint import load_weights
from distill.device import check_device
from distill.segmentation.card import SegmenterCard
from distill.segmentation.images import ClassImages
from distill.segmentation.network import Start, start_network
from distill.segmentation.pseudo import Round, SelfTeaching
from distill.segmentation.read import write_split
from distill.segmentation.rounds import Training, round_folder
from distill.segmentation.scores import Summary, summarise_images
from distill.segmentation.segmenter import save_segmenter
from distill.segmentation.settings import SegmenterSettings
from distill.teachers.split import split_by_case
from distill.teachers.watch import BEST_NAME

SPLIT_NAME = "split.csv"  # which image was learned from, with whose labels, and which held out


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedSegmenter:
    """What a training came to.

    Attributes
    ----------
    steps
        Of all rounds.
    held_out
        Measures on the held-out images, on which the weights were chosen.
    rounds
        One a round of self-teaching, the first without any; `best` is the number of the one whose
        weights are kept.
    """

    steps: int
    held_out: Summary
    rounds: tuple[Round, ...]
    best: int


def train_segmenter(
    sources: Mapping[str, ClassImages],
    folder: Path,
    settings: SegmenterSettings,
    *,
    licence: str,
    teaching: SelfTeaching | None = None,
    resume: bool = False,
    report: Callable[[str], None],
) -> TrainedSegmenter:
    """Train, keep the best averaged weights, and write the segmenter's folder.

    Beside card and weights the folder gets `loss.csv` (a row a step), `metrics.csv` (a row a
    check), `split.csv` (which image was on which side, or pseudo-labelled) and what is needed to
    `resume`. With `teaching`, each further round has a folder of its own with the same, and
    `rounds.csv` says what each took and came to. The measures on the held-out images are those by
    which the weights were chosen: a little better than on others.

    Parameters
    ----------
    sources
        By name; all have the same classes.
    teaching
        Its images of held-out cases are left out, and `report` told how many they are.

    Raises
    ------
    LabelledDataError
        If there is too little to learn from, to judge by or to label.
    ModelError
        If the encoder or device cannot be used, or the checkpoint is of another training.
    """
    check_device(settings.device)
    classes = next(iter(sources.values())).classes
    resampled = {
        name: [image.resampled(settings.mpp) for image in of.images] for name, of in sources.items()
    }
    split = split_by_case(resampled, validation=settings.validation, seed=settings.seed)
    held_out = [image for images in split.held_out.values() for image in images]
    if teaching:
        cases = {image.case for image in held_out}
        asked = len(teaching.images)
        teaching = teaching.without(
            i for of in sources.values() for i in of.images if i.case in cases
        )
        if left_out := asked - len(teaching.images):
            report(f"{left_out} of {asked} images to label are of held-out cases: left out")
    folder.mkdir(parents=True, exist_ok=True)
    sides = {
        "train": split.train,
        "held out": held_out,
        "pseudo-labelled": teaching.images if teaching else [],
    }
    write_split(
        folder / SPLIT_NAME,
        [(image.name, image.case, side) for side, images in sides.items() for image in images],
    )
    start = start_network(
        settings.encoder,
        outputs=len(classes),
        decoder=settings.decoder,
        keep_decoder=settings.keep_decoder,
        seed=settings.seed,
    )
    training = Training(
        net=start.net.to(settings.device),
        split=split,
        classes=classes,
        start=start,
        settings=settings,
        resume=resume,
        report=report,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        rounds = training.run(folder, teaching)
    best = int(np.argmax([of.merit for of in rounds]))
    load_weights(start.net, round_folder(folder, best) / BEST_NAME, sha256=None)
    summary = summarise_images(training.scores(start.net, objects=True), classes)
    steps = sum(of.steps for of in rounds)
    card = SegmenterCard(
        name=settings.name,
        architecture=start.architecture,
        decoder=start.decoder,
        classes=classes,
        mpp=settings.mpp,
        mean=start.mean,
        std=start.std,
        weights="",
        sha256="",
        training=TrainingCard(
            data=", ".join(f"{name} ({len(of.images)} images)" for name, of in sources.items()),
            data_licence=licence if start.licence is None else f"{licence}; {start.licence}",
            method=_method(settings, start, steps, rounds, best, teaching),
            measures=_measures(summary),
        ),
    )
    save_segmenter(start.net.cpu(), folder, card)
    return TrainedSegmenter(steps=steps, held_out=summary, rounds=rounds, best=best)


def _method(
    settings: SegmenterSettings,
    start: Start,
    steps: int,
    rounds: Sequence[Round],
    best: int,
    teaching: SelfTeaching | None,
) -> str:
    method = (
        f"{start.pretraining}; supervised, {steps} steps of {settings.batch_size} crops of "
        f"{settings.crop_px} px, seed {settings.seed}"
    )
    if teaching:
        method += (
            f"; {len(rounds) - 1} rounds on {len(teaching.images)} images it labelled itself "
            f"(confidence {teaching.confidence:g}), weights of round {best}"
        )
    return method


def _measures(summary: Summary) -> dict[str, float]:
    found = {"held_out_miou": summary.miou.value, "held_out_images": float(summary.n_images)}
    for what in ("dice", "object_dice", "object_f1", "object_hausdorff_px"):
        found |= {f"held_out_{what}_{n}": v.value for n, v in getattr(summary, what).items()}
    return {name: round(value, 4) for name, value in found.items() if math.isfinite(value)}
