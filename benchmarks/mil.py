"""MIL heads on bags that everybody has: Musk1, Elephant, Fox, Tiger, and nuclei of colon cancer.

    python -m benchmarks.mil --data FOLDER --repeats 1 --heads gated-abmil dsmil

FOLDER holds ``mil_classic/*.npz`` (``X``, ``bag_of_instance``, ``y`` and the given folds,
``train_mask``) and ``crchisto/patches27.npz``. A bag of nuclei is a patient, positive if any
nucleus is epithelial; a nucleus is its pixels, averaged over 3 x 3. These sets show that a head is
right, not that it is better: they are small, and a forest on pooled instances does as well.
"""

import argparse
import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from distill.downstream.splits import Indices, divide, validation
from distill.errors import LabelledDataError
from pipelines.mil.bags import Bag, bag_logits
from pipelines.mil.heads.registry import HEADS
from pipelines.mil.training import HeadSettings, train_head
from wsi.atomic import replacing

CLASSIC = ("Musk1", "Elephant", "Fox", "Tiger")
COLON = "colon nuclei"
FOLDS = 10
# Accuracy. The attention is that of Ilse et al. (2018) as remembered, not looked up; theirs on
# colon nuclei has other bags (images) and a network trained from the pixels.
PUBLISHED: Mapping[str, tuple[str, str]] = {
    "Musk1": ("0.852", "0.892"),
    "Elephant": ("0.885", "0.868"),
    "Fox": ("0.674", "0.615"),
    "Tiger": ("0.851", "0.839"),
    COLON: ("", "0.904"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Bags:
    """Bags of instances (n, D), their targets (N,), and for every repeat the folds' test bags."""

    name: str
    instances: tuple[NDArray[np.float32], ...]
    targets: NDArray[np.int64]
    tests: tuple[tuple[Indices, ...], ...]


def load_classic(data: Path, name: str) -> Bags:
    """One of the classic sets with its given folds."""
    with np.load(data / "mil_classic" / f"{name}.npz") as arrays:
        bag, instances = arrays["bag_of_instance"], arrays["X"].astype(np.float32)
        targets = arrays["y"].astype(np.int64)
        tests = tuple(
            tuple(np.flatnonzero(~fold) for fold in repeat) for repeat in arrays["train_mask"]
        )
    of_bag = tuple(instances[bag == number] for number in range(len(targets)))
    return Bags(name=name, instances=of_bag, targets=targets, tests=tests)


def load_colon(data: Path, *, repeats: int = 5) -> Bags:
    """Patients as bags of nuclei, divided anew for each repeat."""
    with np.load(data / "crchisto" / "patches27.npz") as arrays:
        patient, kind, pixels = (arrays[k] for k in ("patient_id", "cell_type", "image"))
    small = pixels.reshape(len(pixels), 9, 3, 9, 3, 3).mean(axis=(2, 4)).reshape(len(pixels), -1)
    patients = np.unique(patient)
    targets = np.array([(kind[patient == p] == 2).any() for p in patients], np.int64)
    owners = np.array([str(p) for p in patients])
    return Bags(
        name=COLON,
        instances=tuple(small[patient == p].astype(np.float32) for p in patients),
        targets=targets,
        tests=tuple(
            tuple(test for _, test in divide(targets, owners, FOLDS, seed, COLON))
            for seed in range(repeats)
        ),
    )


def load(data: Path, name: str) -> Bags:
    """Any of the sets.

    Raises
    ------
    LabelledDataError
        If its file is not there.
    """
    try:
        return load_colon(data) if name == COLON else load_classic(data, name)
    except FileNotFoundError as error:
        raise LabelledDataError(f"{name}: {error.filename} is missing, see --data") from error


def score(
    bags: Bags, kind: str, *, repeat: int, folds: int, epochs: int
) -> Iterator[dict[str, object]]:
    """Train on each of the first `folds` folds of a repeat; one row for every bag tested."""
    for fold, test in enumerate(bags.tests[repeat][:folds]):
        rest = np.setdiff1d(np.arange(len(bags.targets)), test)
        names = np.array([str(number) for number in rest])
        apart = validation(bags.targets[rest], names, seed=repeat)
        if apart is None:
            raise LabelledDataError(f"{bags.name}: {len(rest)} bags are too few to tune on some")
        known = np.concatenate([bags.instances[number] for number in rest[apart[0]]])
        mean, spread = known.mean(axis=0), known.std(axis=0)
        spread[spread == 0] = 1.0  # the same everywhere
        scaled = [(of_bag - mean) / spread for of_bag in bags.instances]
        sides = dict.fromkeys(rest[apart[0]].tolist(), "train")
        sides |= dict.fromkeys(rest[apart[1]].tolist(), "tune")
        trained = train_head(
            [
                Bag(
                    slide_id=str(number),
                    patient_id=str(number),
                    target=str(bags.targets[number]),
                    split=side,
                    read=partial(np.asarray, scaled[number]),
                )
                for number, side in sides.items()
            ],
            positive="1",
            settings=HeadSettings(kind=kind, epochs=epochs),
            seed=repeat,
        )
        for number in test.tolist():
            negative, positive = bag_logits(trained.head, scaled[number])
            yield {
                "data": bags.name,
                "head": kind,
                "repeat": repeat,
                "fold": fold,
                "bag": number,
                "target": int(bags.targets[number]),
                "log_odds": float(positive - negative),
            }


def summarise(rows: Sequence[Mapping[str, object]]) -> str:
    """A row of the table: accuracy and AUROC of all bags of a repeat, mean (SD) over repeats."""
    accuracies, areas = [], []
    for repeat in sorted({int(str(row["repeat"])) for row in rows}):
        of_repeat = [row for row in rows if row["repeat"] == repeat]
        target = np.array([row["target"] for row in of_repeat], np.int64)
        odds = np.array([row["log_odds"] for row in of_repeat], np.float64)
        accuracies.append(float(((odds > 0) == target).mean()))
        areas.append(float(roc_auc_score(target, odds)))
    first = rows[0]
    published = " | ".join(PUBLISHED[str(first["data"])])
    values = " | ".join(_mean(values) for values in (accuracies, areas))
    return f"| {first['data']} | {first['head']} | {values} | {len(rows)} | {published} |"


def _mean(values: Sequence[float]) -> str:
    spread = f" ({np.std(values, ddof=1):.3f})" if len(values) > 1 else ""
    return f"{np.mean(values):.3f}{spread}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print a row as soon as it is known."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--sets", nargs="+", choices=(*CLASSIC, COLON), default=(*CLASSIC, COLON))
    parser.add_argument("--heads", nargs="+", choices=tuple(HEADS), default=tuple(HEADS))
    parser.add_argument("--repeats", type=int, choices=range(1, 6), default=5)
    parser.add_argument("--folds", type=int, choices=range(1, FOLDS + 1), default=FOLDS)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--out", type=Path, help="CSV of every prediction, for a complete run")
    options = parser.parse_args(arguments)
    print("| data | head | accuracy | AUROC | predictions | forest | attention, recalled |")
    print("|---|---|--:|--:|--:|--:|--:|", flush=True)
    every: list[dict[str, object]] = []
    for name in options.sets:
        bags = load(options.data, name)
        for kind in options.heads:
            measure = partial(score, bags, kind, folds=options.folds, epochs=options.epochs)
            rows = [row for repeat in range(options.repeats) for row in measure(repeat=repeat)]
            print(summarise(rows), flush=True)
            every += rows
    if options.out:
        _write(options.out, every)


def _write(path: Path, rows: Sequence[Mapping[str, object]]) -> None:
    with replacing(path) as tmp, tmp.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
