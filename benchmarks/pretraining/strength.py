"""Whether the linear probe's strength is better chosen by validation or left as it is.

    python -m benchmarks.pretraining.strength ENCODERS --data FOLDER

For each share of the labels, balanced accuracy with C chosen on patients set aside and with the
one fixed beforehand, and how many patients the labels were of.
"""

import argparse
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import balanced_accuracy_score

from benchmarks.pretraining.candidates import find_candidates
from benchmarks.pretraining.parts import percent
from benchmarks.pretraining.protocol import FOLDS
from benchmarks.pretraining.run import known_of
from benchmarks.pretraining.tasks import CLASSIFICATION
from distill.downstream.dataset import LabelledImages
from distill.downstream.embedding import cached_embeddings, view_of
from distill.downstream.linear import linear_probe
from distill.downstream.splits import folds, take_fraction

NEVER = 10**9  # patients


def main() -> None:
    """Print a markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("encoders", type=Path, help="as for 'raypath benchmark pretraining'")
    parser.add_argument("--data", type=Path, required=True, help="folder of the data sets")
    parser.add_argument("--task", nargs="+", default=["crchisto-type", "crchisto-cancerous"])
    parser.add_argument("--fraction", nargs="+", type=float, default=[0.05, 0.25])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--cache", type=Path, help="of 'raypath benchmark pretraining'")
    options = parser.parse_args()
    print("| encoder | task | labels | patients | C chosen | C fixed |\n|---|---|--:|--:|--:|--:|")
    with TemporaryDirectory() as folder:
        for candidate in find_candidates(options.encoders):
            encoder = candidate.load()
            for name in options.task:
                task = CLASSIFICATION[name]
                dataset = task.load(options.data / task.folder)
                cache = options.cache or Path(folder)
                rows = cached_embeddings(dataset, encoder, view_of(encoder), cache)
                for fraction in options.fraction:
                    words = compared(rows, dataset, fraction, options.seeds)
                    labels = f"{percent(fraction)}%"
                    print(f"| {candidate.name} | {name} | {labels} | {words} |", flush=True)


def compared(
    rows: NDArray[np.float32], dataset: LabelledImages, fraction: float, seeds: int
) -> str:
    """Patients, and balanced accuracy both ways, the mean over seeds, of all folds pooled."""
    ways = {
        "chosen": partial(linear_probe, tuned_patients=2),
        "fixed": partial(linear_probe, tuned_patients=NEVER),
    }
    scores: dict[str, list[float]] = {way: [] for way in ways}
    patients = []
    for seed in range(seeds):
        said = {way: np.zeros(len(dataset), np.int64) for way in ways}
        for fold in folds(dataset, seed=seed, count=FOLDS):
            known = take_fraction(fold.train, dataset.targets, dataset.owners, fraction, seed=seed)
            train = known_of(rows, dataset, known)
            patients.append(len(np.unique(train.owners)))
            for way, probe in ways.items():
                said[way][fold.test] = probe(train, rows[fold.test], seed=seed).probs.argmax(1)
        for way, classes in said.items():
            scores[way].append(float(balanced_accuracy_score(dataset.targets, classes)))
    means = " | ".join(f"{np.mean(scores[way]):.3f}" for way in ways)
    return f"{min(patients)} to {max(patients)} | {means}"


if __name__ == "__main__":
    main()
