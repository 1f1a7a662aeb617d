"""Few labels, many images: a network labels what it is sure of, and learns from it.

Self-training with a threshold on the confidence (Lee, "Pseudo-label", ICML workshop 2013). Pixels
it is not sure of stay unknown. The network's mistakes of which it is sure are learned too: what
it comes to is judged on images that people labelled, round by round, and the best round is kept.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from distill.errors import LabelledDataError
from distill.seen import image_digest, list_images
from distill.segmentation.images import UNKNOWN, ClassImage


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfTeaching:
    """What to label, how often, and the least probability (0-1) a pixel is taken with."""

    images: Sequence[ClassImage]
    rounds: int = 1
    confidence: float = 0.9

    def __post_init__(self) -> None:
        if self.rounds < 1 or not 0 < self.confidence < 1:
            raise ValueError(f"rounds from 1, confidence between 0 and 1 are wanted, got {self}")

    def without(self, held_out: Iterable[ClassImage]) -> "SelfTeaching":
        """The same, but for images of a held-out case, and copies of one's images by any name.

        What was learned from them would be judged by them.

        Parameters
        ----------
        held_out
            All images of the held-out cases; like `images` as they were read, before any
            resampling.

        Raises
        ------
        LabelledDataError
            If none is left.
        """
        held = list(held_out)
        cases = {image.case for image in held}
        copies = list_images(image.pixels for image in held).images
        kept = [
            image
            for image in self.images
            if image.case not in cases and image_digest(image.pixels) not in copies
        ]
        if not kept:
            raise LabelledDataError(
                f"none of the {len(self.images)} images to label is left: all are of held-out cases"
            )
        return replace(self, images=kept)


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What a network labelled with confidence.

    Attributes
    ----------
    images
        Those with any pixel it was sure of.
    n_images
        How many it looked at.
    share
        Of all pixels, those it was sure of.
    of_class
        By class, its share of the pixels that were taken.
    """

    images: Sequence[ClassImage]
    n_images: int
    share: float
    of_class: dict[str, float]

    def describe(self) -> str:
        """One line."""
        by_class = ", ".join(f"{name} {share:.1%}" for name, share in self.of_class.items())
        return (
            f"{len(self.images)} of {self.n_images} images, {self.share:.1%} of their pixels "
            f"taken ({by_class})"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """A round of training: its steps, the mean IoU held out, and what was taken for it."""

    number: int
    steps: int
    merit: float
    taken: Taken | None

    def as_row(self, classes: Sequence[str]) -> dict[str, float]:
        """A row of `rounds.csv`; the first round took nothing."""
        taken = self.taken
        return {
            "round": self.number,
            "steps": self.steps,
            "held_out_miou": self.merit,
            "images": len(taken.images) if taken else 0,
            "share_of_pixels": taken.share if taken else 0.0,
            **{f"taken_{name}": taken.of_class[name] if taken else 0.0 for name in classes},
        }


def label_confident(
    images: Sequence[ClassImage],
    probabilities: Callable[[ClassImage], NDArray[np.float32]],
    classes: Sequence[str],
    confidence: float,
) -> Taken:
    """Give each pixel the most probable class where its probability is at least `confidence`.

    Parameters
    ----------
    probabilities
        Maps an image to (K, H, W).
    """
    labelled, counts, pixels = [], np.zeros(len(classes), np.int64), 0
    for image in images:
        probs = probabilities(image)
        found = np.where(probs.max(0) >= confidence, probs.argmax(0), UNKNOWN).astype(np.int32)
        of_class = np.bincount(found[found != UNKNOWN], minlength=len(classes))
        counts += of_class
        pixels += found.size
        if of_class.any():
            labelled.append(replace(image, classes=found))
    total = int(counts.sum())
    return Taken(
        images=labelled,
        n_images=len(images),
        share=total / pixels if pixels else 0.0,
        of_class={
            name: float(count / total) if total else 0.0
            for name, count in zip(classes, counts.tolist(), strict=True)
        },
    )
