"""Training the slide-level head on embeddings, with patients kept on one side of each split."""

import time
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from pickle import UnpicklingError

import numpy as np
import torch
from torch import Tensor

from distill.errors import ModelError
from pipelines.errors import TrainingError
from pipelines.mil.bags import Bag, as_batch, check_split, count_classes, score_bag
from pipelines.mil.heads.head import Head, weighted_cross_entropy
from pipelines.mil.heads.registry import create_head
from pipelines.mil.statistics import youden_threshold
from wsi.atomic import replacing

CHECKPOINT_S = 30.0  # a bag may take seconds, or a millisecond

Epoch = Callable[[int, float], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadSettings:
    """How a head is trained: AdamW, a bag a step.

    Attributes
    ----------
    kind, sizes
        Of the head, see `pipelines.mil.heads.registry`.
    epochs, patience
        Most passes over the bags, and passes without a lower loss on the tuning slides after
        which training ends.
    learning_rate
        None for the head's own.
    weight_decay
        Of AdamW.
    most_tiles
        Of a bag in a training step, drawn anew each time; None for all. Tuning and test slides
        are always seen whole.
    device
        Where the head runs.
    """

    kind: str = "gated-abmil"
    sizes: Mapping[str, int] = field(default_factory=dict)
    epochs: int = 40
    patience: int = 10
    learning_rate: float | None = None
    weight_decay: float = 1e-2
    most_tiles: int | None = None
    device: str = "cpu"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedHead:
    """A head with the operating point chosen on the tuning slides, and its losses by epoch.

    Without a positive class there is no threshold.
    """

    kind: str
    head: Head
    classes: tuple[str, ...]
    positive: str | None
    threshold: float | None
    n_tune: int
    tune_loss: list[float]
    train_loss: list[float]


def train_head(
    bags: Sequence[Bag],
    *,
    positive: str | None,
    settings: HeadSettings | None = None,
    seed: int = 0,
    checkpoint: Path | None = None,
    report: Epoch = lambda epoch, tune_loss: None,
) -> TrainedHead:
    """Train a head on the bags of split ``train``.

    The epoch with the least loss on split ``tune`` is kept, and the threshold on the score of
    `positive`, where there is such a class, is chosen there by Youden's index. Bags of other
    splits are not looked at. `report` is called after every epoch with its number and that loss.
    A `checkpoint` that is there is gone on from; it is written after whole epochs, not more often
    than every `CHECKPOINT_S` seconds, and stays.

    Raises
    ------
    SplitError
        If a patient stands on both sides, or a class is missing: any of them in ``train``,
        `positive` in ``tune``.
    ModelError
        If there is no such head, or the checkpoint is of another.
    TrainingError
        If the loss is no longer a number.
    """
    settings = settings or HeadSettings()
    check_split(bags)
    train = [bag for bag in bags if bag.split == "train"]
    tune = [bag for bag in bags if bag.split == "tune"]
    classes, counts = count_classes(train, tune, positive)
    weight = torch.tensor(counts.sum() / counts / len(classes), dtype=torch.float32)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # for the first weights, dropout, and what a head draws
        dim = train[0].read().shape[1]
        head = create_head(settings.kind, dim, len(classes), settings.sizes).to(settings.device)
        training = _Training(head, classes, weight.to(settings.device), settings, seed)
        training.run(train, tune, checkpoint, report)
    threshold = None
    if positive is not None:
        scores = np.array([score_bag(head, bag.read())[classes.index(positive)] for bag in tune])
        truth = np.array([bag.target == positive for bag in tune])
        threshold = youden_threshold(truth, scores)
    return TrainedHead(
        kind=settings.kind,
        head=head.cpu(),
        classes=classes,
        positive=positive,
        threshold=threshold,
        n_tune=len(tune),
        tune_loss=training.tune_loss,
        train_loss=training.train_loss,
    )


class _Training:
    """A head while it is trained; afterwards it has the weights of its best epoch."""

    def __init__(
        self,
        head: Head,
        classes: tuple[str, ...],
        weight: Tensor,
        settings: HeadSettings,
        seed: int,
    ) -> None:
        self.head, self.classes, self.weight, self.settings = head, classes, weight, settings
        self.generator = np.random.default_rng(seed)
        self.optimiser = torch.optim.AdamW(
            head.parameters(),
            lr=head.learning_rate if settings.learning_rate is None else settings.learning_rate,
            weight_decay=settings.weight_decay,
            fused=True,  # one pass over all weights: small bags are learned from twice as fast
        )
        self.best = deepcopy(head.state_dict())
        self.train_loss: list[float] = []
        self.tune_loss: list[float] = []

    def run(
        self, train: Sequence[Bag], tune: Sequence[Bag], checkpoint: Path | None, report: Epoch
    ) -> None:
        if checkpoint and checkpoint.exists():
            self._load(checkpoint)
        written = time.monotonic()
        for epoch in range(len(self.tune_loss), self.settings.epochs):
            if self._is_over():
                break
            self._epoch(train, tune)
            report(epoch, self.tune_loss[-1])
            if checkpoint and time.monotonic() - written >= CHECKPOINT_S:
                self._save(checkpoint)
                written = time.monotonic()
        self.head.load_state_dict(self.best)
        self.head.eval()  # a checkpoint of the last epoch is followed by none that would

    def _epoch(self, train: Sequence[Bag], tune: Sequence[Bag]) -> None:
        self.head.train()
        order = self.generator.permutation(len(train))
        self.train_loss.append(float(np.mean([self._step(train[i]) for i in order])))
        self.head.eval()
        loss = float(np.mean([self._measure(bag) for bag in tune]))
        if not np.isfinite(loss):
            raise TrainingError(
                f"{self.settings.kind}: the loss is {loss} after epoch {len(self.train_loss)}: "
                f"lower the learning rate, {self.optimiser.param_groups[0]['lr']:g}"
            )
        if loss < min(self.tune_loss, default=float("inf")):
            self.best = deepcopy(self.head.state_dict())
        self.tune_loss.append(loss)

    def _is_over(self) -> bool:
        """Whether the last `patience` epochs brought no lower loss."""
        since = len(self.tune_loss) - 1 - int(np.argmin(self.tune_loss)) if self.tune_loss else 0
        return since >= self.settings.patience

    def _save(self, path: Path) -> None:
        content = {
            "head": self.head.state_dict(),
            "best": self.best,
            "optimiser": self.optimiser.state_dict(),
            "train_loss": self.train_loss,
            "tune_loss": self.tune_loss,
            "generator": self.generator.bit_generator.state,
            "random": torch.get_rng_state(),
            "random_cuda": torch.cuda.get_rng_state(self.weight.device)
            if self.weight.is_cuda
            else None,
        }
        with replacing(path) as tmp:
            torch.save(content, tmp)

    def _load(self, path: Path) -> None:
        """Go to where a checkpoint was written; it is read without executing code."""
        try:
            content = torch.load(path, map_location="cpu", weights_only=True)
            self.head.load_state_dict(content["head"])
            self.best = content["best"]
            self.optimiser.load_state_dict(content["optimiser"])
        except (RuntimeError, KeyError, ValueError, UnpicklingError) as error:
            raise ModelError(f"{path} does not continue this training: {error}") from error
        self.train_loss, self.tune_loss = content["train_loss"], content["tune_loss"]
        self.generator.bit_generator.state = content["generator"]
        torch.set_rng_state(content["random"])
        if self.weight.is_cuda:
            torch.cuda.set_rng_state(content["random_cuda"], self.weight.device)

    def _step(self, bag: Bag) -> float:
        """Learn from one bag; gives its loss."""
        embeddings = bag.read()
        most = self.settings.most_tiles
        if most is not None and len(embeddings) > most:
            drawn = self.generator.choice(len(embeddings), most, replace=False, shuffle=False)
            embeddings = embeddings[np.sort(drawn)]
        loss = self.head.loss(*as_batch(self.head, embeddings), self._target(bag), self.weight)
        self.optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimiser.step()
        return loss.item()

    @torch.inference_mode()
    def _measure(self, bag: Bag) -> float:
        """The cross-entropy of a slide: the same for every head, whatever it is trained with."""
        logits = self.head(*as_batch(self.head, bag.read())).logits
        return weighted_cross_entropy(logits, self._target(bag), self.weight).item()

    def _target(self, bag: Bag) -> Tensor:
        return torch.tensor([self.classes.index(bag.target)], device=self.weight.device)
