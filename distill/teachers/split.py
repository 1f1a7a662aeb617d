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


@dataclass(frozen=True, slots=True, kw_only=True)
class Fold:
    """Part `number`, from 0, of the cases of each source, divided into `of` parts by chance."""

    number: int
    of: int

    def __post_init__(self) -> None:
        if not 0 <= self.number < self.of or self.of < 2:
            raise ValueError(f"fold 0 to n - 1 of n, n from 2, is wanted, got {self}")

    def __str__(self) -> str:
        return f"fold {self.number} of {self.of}"


T = TypeVar("T", bound=OfCase)
Sources = Mapping[str, Sequence[Labelled]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Split(Generic[T]):
    """Images to learn from and, by source, images to judge by."""

    train: Sequence[T]
    held_out: Mapping[str, Sequence[T]]


def split_by_case(
    sources: Mapping[str, Sequence[T]], *, validation: float | Fold, seed: int
) -> Split[T]:
    """Hold out a share of the cases of each source; none has images on both sides.

    Only completely labelled images are held out, since others cannot serve as truth. What else
    there is of a held-out case is left out altogether.

    Parameters
    ----------
    validation
        The share, 0-1, or a fold: with one seed, the folds hold out every completely labelled
        image exactly once.

    Raises
    ------
    LabelledDataError
        If nothing is left to learn from or to judge by, or a source has fewer completely labelled
        cases than there are folds; one that has none is only learned from.
    """
    cases_of = {s: sorted({i.case for i in of if i.complete}) for s, of in sources.items()}
    if isinstance(validation, Fold):
        few = [f"{s} ({len(of)})" for s, of in cases_of.items() if 0 < len(of) < validation.of]
        if few:
            raise LabelledDataError(
                f"completely labelled cases of {', '.join(few)}: fewer than {validation.of} folds; "
                "ask for fewer"
            )
    held_out: dict[str, list[T]] = {}
    for source, images in sources.items():
        mixed = np.random.default_rng(seed).permutation(cases_of[source])
        part = (
            slice(validation.number, None, validation.of)
            if isinstance(validation, Fold)
            else slice(round(validation * len(mixed)))
        )
        if chosen := set(mixed[part]):
            held_out[source] = [i for i in images if i.complete and i.case in chosen]
    held = {image.case for images in held_out.values() for image in images}
    kept = [image for images in sources.values() for image in images if image.case not in held]
    if not held or not kept:
        counts = {source: len(cases) for source, cases in cases_of.items()}
        what = validation if isinstance(validation, Fold) else f"a share of {validation}"
        raise LabelledDataError(
            f"completely labelled cases by source: {counts}; holding out {what} of each leaves "
            "nothing to learn from or nothing to judge by"
        )
    return Split(train=kept, held_out=held_out)
