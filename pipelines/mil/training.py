"""Training the slide-level head on embeddings, with patients kept on one side of each split."""

from collections import defaultdict
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from pipelines.errors import SplitError
from pipelines.mil.abmil import GatedAbmil
from pipelines.mil.statistics import youden_threshold


@dataclass(frozen=True, slots=True, kw_only=True)
class Bag:
    """A slide as the head sees it: (N, D) float32 embeddings, its class and its owner."""

    slide_id: str
    patient_id: str
    target: str
    split: str
    embeddings: NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedHead:
    """A head with the operating point chosen on the tuning slides, and its losses."""

    head: GatedAbmil
    classes: tuple[str, ...]
    positive: str
    threshold: float
    n_tune: int
    tune_loss: list[float]


def check_split(bags: Sequence[Bag]) -> None:
    """Refuse bags whose patients stand on both sides of a split, or that lack train or tune.

    Raises
    ------
    SplitError
        Naming every such patient.
    """
    splits = defaultdict(set)
    for bag in bags:
        splits[bag.patient_id].add(bag.split)
    astride = {patient: sorted(s) for patient, s in splits.items() if len(s) > 1}
    if astride:
        listed = "; ".join(f"{patient} in {', '.join(s)}" for patient, s in astride.items())
        raise SplitError(f"patients on several sides of the split: {listed}")
    for wanted in ("train", "tune"):
        if len({bag.target for bag in bags if bag.split == wanted}) < 2:
            raise SplitError(f"split {wanted!r} needs slides of at least two classes")


def train_head(
    bags: Sequence[Bag],
    *,
    positive: str,
    epochs: int = 40,
    learning_rate: float = 1e-3,
    seed: int = 0,
) -> TrainedHead:
    """Train gated attention MIL on the bags of split ``train``.

    The epoch with the least loss on split ``tune`` is kept, and the threshold on the score of
    `positive` is chosen there by Youden's index. Bags of other splits are not looked at.

    Raises
    ------
    SplitError
        If a patient stands on both sides, or a class is missing: any of them in ``train``,
        `positive` in ``tune``.
    """
    check_split(bags)
    train = [bag for bag in bags if bag.split == "train"]
    tune = [bag for bag in bags if bag.split == "tune"]
    seen = {bag.target for bag in (*train, *tune)} | {positive}
    classes = tuple(sorted(seen, key=lambda c: (c == positive, c)))
    counts = np.array([sum(bag.target == c for bag in train) for c in classes])
    if (counts == 0).any():
        missing = [c for c, n in zip(classes, counts, strict=True) if n == 0]
        raise SplitError(f"split 'train' has no slide of class {', '.join(missing)}")
    if positive not in {bag.target for bag in tune}:
        raise SplitError(f"split 'tune' has no slide of class {positive}")
    generator = np.random.default_rng(seed)
    weight = torch.tensor(counts.sum() / counts / len(classes), dtype=torch.float32)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # for the first weights and for dropout
        head = GatedAbmil(train[0].embeddings.shape[1], len(classes))
        best_state, losses = _optimise(
            head, train, tune, classes, weight, epochs, learning_rate, generator
        )
    head.load_state_dict(best_state)
    scores = np.array([score_bag(head, bag.embeddings)[classes.index(positive)] for bag in tune])
    truth = np.array([bag.target == positive for bag in tune])
    return TrainedHead(
        head=head,
        classes=classes,
        positive=positive,
        threshold=youden_threshold(truth, scores),
        n_tune=len(tune),
        tune_loss=losses,
    )


def _optimise(
    head: GatedAbmil,
    train: Sequence[Bag],
    tune: Sequence[Bag],
    classes: tuple[str, ...],
    weight: Tensor,
    epochs: int,
    learning_rate: float,
    generator: np.random.Generator,
) -> tuple[dict[str, Tensor], list[float]]:
    """Train in place; returns the state of the best epoch on `tune`, and its loss by epoch."""
    optimiser = torch.optim.AdamW(head.parameters(), lr=learning_rate, weight_decay=1e-2)
    best, best_state, losses = float("inf"), deepcopy(head.state_dict()), []
    for _ in range(epochs):
        head.train()
        for index in generator.permutation(len(train)):
            loss = _loss(head, train[index], classes, weight)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
        head.eval()
        with torch.inference_mode():
            losses.append(float(np.mean([float(_loss(head, b, classes, weight)) for b in tune])))
        if losses[-1] < best:
            best, best_state = losses[-1], deepcopy(head.state_dict())
    return best_state, losses


@torch.inference_mode()
def score_bag(head: GatedAbmil, embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
    """Softmax over the classes of one slide, (C,); not calibrated."""
    bag = torch.from_numpy(embeddings)[None]
    logits = head(bag, torch.ones(bag.shape[:2], dtype=torch.bool)).logits
    return np.asarray(logits.softmax(1)[0])


def _loss(head: GatedAbmil, bag: Bag, classes: tuple[str, ...], weight: Tensor) -> Tensor:
    embeddings = torch.from_numpy(bag.embeddings)[None]
    output = head(embeddings, torch.ones(embeddings.shape[:2], dtype=torch.bool))
    target = torch.tensor([classes.index(bag.target)])
    # Written out: with a batch of one, cross_entropy's own weighting would cancel.
    return functional.cross_entropy(output.logits, target) * weight[target]
