"""Train a segmenter: split by case, judged on held-out cases, resumable, perhaps self-taught."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from distill.card import TrainingCard
from distill.checkpoint import load_weights
from distill.device import check_device
from distill.segmentation.card import Decoder, SegmenterCard
from distill.segmentation.images import ClassImage, ClassImages
from distill.segmentation.loss import class_loss
from distill.segmentation.network import Start, start_network
from distill.segmentation.pseudo import Round, SelfTeaching, Taken, label_confident
from distill.segmentation.read import write_split
from distill.segmentation.scores import ImageScores, Summary, score_image, summarise_images
from distill.segmentation.segmenter import predict_image, save_segmenter
from distill.teachers.crops import Crops
from distill.teachers.fit import fit
from distill.teachers.split import Split, split_by_case
from distill.teachers.watch import BEST_NAME, write_csv
from distill.train import Schedule

SPLIT_NAME = "split.csv"  # which image was learned from, and which was held out
ROUNDS_NAME = "rounds.csv"
ROUND_FOLDER = "round-{}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmenterSettings:
    """How a segmenter is trained.

    Attributes
    ----------
    encoder
        A timm network, or the folder of a pretrained model.
    decoder
        Of the network; None for what suits the encoder.
    keep_decoder
        Start from the pretrained model's own decoder.
    name
        Of the label image that is written for slides.
    mpp
        Resolution to train at; images that say theirs are resampled to it.
    validation
        Share of the cases that is held out.
    crop_px, batch_size
        Edge of a crop, a multiple of 32, and crops a step.
    average_decay
        Of the moving average of the weights, which is what is kept.
    checks, patience
        How often in a training the held-out images are segmented, and after how many checks
        without a better result it ends early.
    workers
        Processes that make crops; 0 makes them in this one.
    """

    encoder: str
    schedule: Schedule
    mpp: float
    decoder: Decoder | None = None
    keep_decoder: bool = False
    name: str = "segmentation"
    validation: float = 0.2
    crop_px: int = 256
    batch_size: int = 8
    average_decay: float = 0.999
    checks: int = 20
    patience: int = 8
    workers: int = 1
    device: str = "cpu"
    bfloat16: bool = False
    seed: int = 0


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
    check), `split.csv` (which image was on which side) and what is needed to `resume`. With
    `teaching`, each further round has a folder of its own with the same, and `rounds.csv` says
    what each took and came to. The measures on the held-out images are those by which the
    weights were chosen: a little better than on others.

    Parameters
    ----------
    sources
        By name; all have the same classes.

    Raises
    ------
    LabelledDataError
        If there is too little to learn from or to judge by.
    ModelError
        If the encoder or device cannot be used, or the checkpoint is of another training.
    """
    check_device(settings.device)
    classes = next(iter(sources.values())).classes
    resampled = {
        name: [image.resampled(settings.mpp) for image in of.images] for name, of in sources.items()
    }
    split = split_by_case(resampled, validation=settings.validation, seed=settings.seed)
    folder.mkdir(parents=True, exist_ok=True)
    held_out = [image for images in split.held_out.values() for image in images]
    write_split(
        folder / SPLIT_NAME,
        [(i.name, i.case, "train") for i in split.train]
        + [(i.name, i.case, "held out") for i in held_out],
    )
    start = start_network(
        settings.encoder,
        outputs=len(classes),
        decoder=settings.decoder,
        keep_decoder=settings.keep_decoder,
        seed=settings.seed,
    )
    training = _Training(
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
    load_weights(start.net, _round_folder(folder, best) / BEST_NAME, sha256=None)
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


@dataclass(slots=True, kw_only=True)
class _Training:
    """A training under way: the rounds share network, split and settings."""

    net: nn.Module
    split: Split[ClassImage]
    classes: tuple[str, ...]
    start: Start
    settings: SegmenterSettings
    resume: bool
    report: Callable[[str], None]

    def run(self, folder: Path, teaching: SelfTeaching | None) -> tuple[Round, ...]:
        """Train, then label what is not labelled and train on, as often as `teaching` says."""
        steps = self._fit(self.split.train, folder, [])
        rounds = [self._round(0, steps, folder, taken=None)]
        for number in range(1, (teaching.rounds if teaching else 0) + 1):
            assert teaching is not None
            images = [image.resampled(self.settings.mpp) for image in teaching.images]
            taken = label_confident(images, self.probabilities, self.classes, teaching.confidence)
            self.report(f"round {number}: {taken.describe()}")
            if taken.images:
                of_round = folder / ROUND_FOLDER.format(number)
                of_round.mkdir(exist_ok=True)
                steps = self._fit(self.split.train, of_round, taken.images)
                rounds.append(self._round(number, steps, of_round, taken=taken))
                write_csv(folder / ROUNDS_NAME, [of.as_row(self.classes) for of in rounds])
        return tuple(rounds)

    def probabilities(self, image: ClassImage) -> NDArray[np.float32]:
        """What the network says of an image, (K, H, W)."""
        return self._predict(self.net, image)

    def scores(self, net: nn.Module, *, objects: bool) -> list[ImageScores]:
        """The held-out images, one by one."""
        return [
            score_image(
                image,
                self._predict(net, image).argmax(0).astype(np.int32),
                self.classes,
                objects=objects,
            )
            for images in self.split.held_out.values()
            for image in images
        ]

    def _predict(self, net: nn.Module, image: ClassImage) -> NDArray[np.float32]:
        return predict_image(
            net,
            image.pixels,
            outputs=len(self.classes),
            mean=self.start.mean,
            std=self.start.std,
            bfloat16=self.settings.bfloat16,
        )

    def _measure(self, net: nn.Module) -> dict[str, float]:
        found = summarise_images(self.scores(net, objects=False), self.classes, resamples=1)
        by_class = {f"iou_{name}": value.value for name, value in found.iou.items()}
        return {"merit": found.miou.value, "miou": found.miou.value, **by_class}

    def _fit(
        self, labelled: Sequence[ClassImage], folder: Path, taught: Sequence[ClassImage]
    ) -> int:
        """Train on, keeping the best averaged weights in `folder` and in the network."""
        images = [*labelled, *taught]
        samples = [(image.pixels, image.classes) for image in images]
        weights = _weights(labelled, taught)
        settings = self.settings

        def crops(first: int, count: int) -> Crops:
            return Crops(
                samples,
                as_target,
                size_px=settings.crop_px,
                first=first,
                count=count,
                seed=settings.seed,
                weights=weights,
                mean=self.start.mean,
                std=self.start.std,
            )

        steps = fit(
            self.net,
            crops,
            class_loss,
            self._measure,
            folder,
            settings,
            resume=self.resume,
            report=self.report,
        ).step
        load_weights(self.net, folder / BEST_NAME, sha256=None)
        return steps

    def _round(self, number: int, steps: int, folder: Path, *, taken: Taken | None) -> Round:
        measured = self._measure(self.net)
        return Round(number=number, steps=steps, merit=measured["merit"], taken=taken)


def as_target(classes: NDArray[np.int32]) -> NDArray[np.int64]:
    """A crop's classes as the loss takes them."""
    return classes.astype(np.int64)


def _weights(labelled: Sequence[ClassImage], taught: Sequence[ClassImage]) -> list[float]:
    """By area, but all that was labelled by the network together no more than what people did.

    Otherwise many images without labels would drown the few with them.
    """
    given = [float(image.classes.size) for image in labelled]
    own = [float((image.classes >= 0).sum()) for image in taught]
    share = min(1.0, sum(given) / sum(own)) if own else 1.0
    return [*given, *(area * share for area in own)]


def _round_folder(folder: Path, number: int) -> Path:
    return folder / ROUND_FOLDER.format(number) if number else folder


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
