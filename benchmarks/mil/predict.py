"""Heads, and a forest, trained on the folds of a set: what each says of the bags it never saw."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy.special import logit
from sklearn.ensemble import RandomForestClassifier

from benchmarks.mil.bags import Bags
from distill.downstream.splits import Indices, validation
from distill.errors import LabelledDataError
from pipelines.mil.bags import Bag, bag_logits
from pipelines.mil.training import HeadSettings, train_head

FOREST = "forest"
TREES = 500
# Tokens of 512 numbers for bags of some seven instances would be most of the time of all heads.
SIZES: Mapping[str, Mapping[str, int]] = {"transmil": {"hidden_dim": 128}}


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What was said of one bag: the log-odds of a positive one."""

    data: str
    head: str
    repeat: int
    fold: int
    bag: int
    target: int
    log_odds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """When training ends, for all heads."""

    epochs: int = 40
    patience: int = 5


def predict(bags: Bags, kind: str, protocol: Protocol, *, repeat: int, fold: int) -> list[Said]:
    """Train on all bags but a fold's, and ask about those.

    Parameters
    ----------
    kind
        A head, with its own learning rate, its own sizes but for `SIZES`, or `FOREST`.

    Raises
    ------
    LabelledDataError
        If there are too few bags to tune on some.
    """
    test = bags.tests[repeat][fold]
    if kind == FOREST:
        odds = _ask_forest(bags, test, seed=repeat)
    else:
        settings = HeadSettings(
            kind=kind,
            sizes=SIZES.get(kind, {}),
            epochs=protocol.epochs,
            patience=protocol.patience,
        )
        odds = _ask_head(bags, test, settings, seed=repeat)
    return [
        Said(
            data=bags.name,
            head=kind,
            repeat=repeat,
            fold=fold,
            bag=bag,
            target=int(bags.targets[bag]),
            log_odds=value,
        )
        for bag, value in zip(test.tolist(), odds, strict=True)
    ]


def _ask_head(bags: Bags, test: Indices, settings: HeadSettings, *, seed: int) -> list[float]:
    """Of the other bags about a quarter stops the training; the rest is learned from."""
    others = np.setdiff1d(np.arange(len(bags.targets)), test)
    apart = validation(bags.targets[others], others.astype(str), seed=seed)
    if apart is None:
        raise LabelledDataError(f"{bags.name}: {len(others)} bags are too few to tune on some")
    train, tune = (others[side] for side in apart)
    known = np.concatenate([bags.instances[number] for number in train])
    mean, spread = known.mean(axis=0), known.std(axis=0)
    spread[spread == 0] = 1.0  # the same everywhere
    scaled = [(of_bag - mean) / spread for of_bag in bags.instances]
    learned = [
        Bag(
            slide_id=str(number),
            patient_id=str(number),
            target=str(bags.targets[number]),
            split=side,
            read=partial(np.asarray, scaled[number]),
        )
        for side, numbers in (("train", train), ("tune", tune))
        for number in numbers.tolist()
    ]
    head = train_head(learned, positive="1", settings=settings, seed=seed).head
    said = [bag_logits(head, scaled[number]) for number in test.tolist()]
    return [float(positive - negative) for negative, positive in said]


def _ask_forest(bags: Bags, test: Indices, *, seed: int) -> list[float]:
    """Nothing is tuned, so it learns from all other bags."""
    pooled = np.stack([_pooled(of_bag) for of_bag in bags.instances])
    others = np.setdiff1d(np.arange(len(bags.targets)), test)
    forest = RandomForestClassifier(TREES, random_state=seed).fit(
        pooled[others], bags.targets[others]
    )
    share = forest.predict_proba(pooled[test])[:, 1]
    half_a_tree = 0.5 / TREES  # where all agree the odds are finite, and in their order
    return [float(value) for value in logit(np.clip(share, half_a_tree, 1 - half_a_tree))]


def _pooled(of_bag: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mean, greatest and least of every number of a bag's instances, (3 D,)."""
    return np.concatenate([of_bag.mean(axis=0), of_bag.max(axis=0), of_bag.min(axis=0)])
