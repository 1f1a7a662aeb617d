"""Which labelled images are learned from and which are held out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import numpy as np

from distill.errors import LabelledDataError
from distill.teachers.labelled import Labelled


class OfCase(Protocol):
    """A labelled image that belongs to somebody."""

    @property
    def case(self) -> str:
        """Patient, or the image's name where no patient is known."""

    @property
    def complete(self) -> bool:
        """Whether it can serve as truth."""


T = TypeVar("T", bound=OfCase)
Sources = Mapping[str, Sequence[Labelled]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Split(Generic[T]):
    """Images to learn from and, by source, images to judge by."""

    train: Sequence[T]
    held_out: Mapping[str, Sequence[T]]


def split_by_case(sources: Mapping[str, Sequence[T]], *, validation: float, seed: int) -> Split[T]:
    """Hold out a share of the cases of each source; none has images on both sides.

    Only completely labelled images are held out, since others cannot serve as truth. What else
    there is of a held-out case is left out altogether.

    Raises
    ------
    LabelledDataError
        If nothing is left to learn from or to judge by.
    """
    held_out: dict[str, list[T]] = {}
    cases_of: dict[str, int] = {}
    for source, images in sources.items():
        cases = sorted({image.case for image in images if image.complete})
        cases_of[source] = len(cases)
        chosen = np.random.default_rng(seed).permutation(cases)[: round(validation * len(cases))]
        if len(chosen):
            held_out[source] = [i for i in images if i.complete and i.case in set(chosen)]
    held = {image.case for images in held_out.values() for image in images}
    kept = [image for images in sources.values() for image in images if image.case not in held]
    if not held or not kept:
        raise LabelledDataError(
            f"completely labelled cases by source: {cases_of}; holding out a share of {validation} "
            "of each leaves nothing to learn from or nothing to judge by"
        )
    return Split(train=kept, held_out=held_out)
