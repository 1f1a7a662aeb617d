"""A slide as heads see it, the sides it may stand on, and what a head says of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import softmax
from torch import Tensor

from pipelines.cohort.patients import patients_astride
from pipelines.errors import SplitError
from pipelines.mil.heads.head import Head


@dataclass(frozen=True, slots=True, kw_only=True)
class Bag:
    """A slide as the head sees it.

    Attributes
    ----------
    slide_id, patient_id, target, split
        The slide, its owner, its class, and ``"train"``, ``"tune"`` or ``"test"``.
    read
        Gives the (N, D) embeddings, when they are needed: a cohort may be larger than the memory.
    """

    slide_id: str
    patient_id: str
    target: str
    split: str
    read: Callable[[], NDArray[np.floating]]


def check_split(bags: Sequence[Bag]) -> None:
    """Refuse bags whose patients stand on both sides of a split, or that lack train or tune.

    Raises
    ------
    SplitError
        Naming every such patient.
    """
    owners = ((bag.patient_id, bag.split) for bag in bags)
    astride = [
        f"{patient} is in {', '.join(several)}" for patient, several in patients_astride(owners)
    ]
    if astride:
        raise SplitError(f"the split leaks: {'; '.join(astride)}")
    for wanted in ("train", "tune"):
        if len({bag.target for bag in bags if bag.split == wanted}) < 2:
            raise SplitError(f"split {wanted!r} needs slides of at least two classes")


def count_classes(
    train: Sequence[Bag], tune: Sequence[Bag], positive: str | None
) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """The classes, `positive` last if there is one, and how many training slides each has.

    Raises
    ------
    SplitError
        If a class has no training slide, or `positive` no tuning slide.
    """
    seen = {bag.target for bag in (*train, *tune)} | ({positive} if positive else set())
    classes = tuple(sorted(seen, key=lambda c: (c == positive, c)))
    counts = np.array([sum(bag.target == c for bag in train) for c in classes])
    if (counts == 0).any():
        missing = [c for c, n in zip(classes, counts, strict=True) if n == 0]
        raise SplitError(f"split 'train' has no slide of class {', '.join(missing)}")
    if positive and positive not in {bag.target for bag in tune}:
        raise SplitError(f"split 'tune' has no slide of class {positive}")
    return classes, counts


@torch.inference_mode()
def bag_logits(head: Head, embeddings: NDArray[np.floating]) -> NDArray[np.float64]:
    """Logits of one slide, (C,), from its (N, D) embeddings."""
    return np.asarray(head(*as_batch(head, embeddings)).logits[0].double().cpu())


def score_bag(head: Head, embeddings: NDArray[np.floating]) -> NDArray[np.float64]:
    """Softmax over the classes of one slide, (C,); not calibrated."""
    return np.asarray(softmax(bag_logits(head, embeddings)))


def as_batch(head: Head, embeddings: NDArray[np.floating]) -> tuple[Tensor, Tensor]:
    """One bag as a batch with its mask, (1, N, D) and (1, N), where the head is."""
    device = next(head.parameters()).device
    bag = torch.from_numpy(embeddings)[None].to(device, torch.float32)
    return bag, torch.ones(bag.shape[:2], dtype=torch.bool, device=device)
