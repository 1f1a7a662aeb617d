"""A segmenter's training under way: on what people labelled, then on what it labels itself."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import nn

from distill.checkpoint import load_weights
from distill.segmentation.images import ClassImage
from distill.segmentation.loss import class_loss
from distill.segmentation.network import Start
from distill.segmentation.pseudo import Round, SelfTeaching, Taken, label_confident
from distill.segmentation.scores import ImageScores, score_image, summarise_images
from distill.segmentation.segmenter import predict_image
from distill.segmentation.settings import SegmenterSettings
from distill.teachers.crops import Crops
from distill.teachers.fit import fit
from distill.teachers.split import Split
from distill.teachers.watch import BEST_NAME, write_csv

ROUNDS_NAME = "rounds.csv"
ROUND_FOLDER = "round-{}"


@dataclass(slots=True, kw_only=True)
class Training:
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
                of_round = round_folder(folder, number)
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


def round_folder(folder: Path, number: int) -> Path:
    """Where a round leaves its weights and logs: the first one in the folder itself."""
    return folder / ROUND_FOLDER.format(number) if number else folder


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
