"""Predictions from seeded simulations, in the layout that training writes."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from pipelines.mil.evaluation.predictions import Predictions, read_predictions

Rows = list[dict[str, Any]]


def simulate(
    *,
    patients: int = 60,
    slides: int = 1,
    folds: int = 3,
    seeds: int = 1,
    classes: Sequence[str] = ("normal", "tumour"),
    signal: float = 2.0,
    sharpness: float = 3.0,
    random_seed: int = 0,
) -> Rows:
    """Rows of predictions: fold k of a seed tests every `folds`-th patient and tunes on the next.

    The class of a patient is their number modulo the classes, a third to each site. Logits are
    exact log-likelihoods of a Gaussian shift by `signal`, times `sharpness`: the right temperature
    is `sharpness`. Half of the noise belongs to the patient, so slides of one are alike.
    """
    rows: Rows = []
    for seed in range(seeds):
        generator = np.random.default_rng((random_seed, seed))
        for patient in range(patients):
            target = patient % len(classes)
            shared = generator.normal(size=len(classes)) * np.sqrt(0.5)
            for slide in range(slides):
                own = generator.normal(size=len(classes)) * np.sqrt(0.5)
                shown = signal * np.eye(len(classes))[target] + shared + own
                logits = sharpness * signal * shown
                for fold in range(folds):
                    side = (patient // len(classes) - fold) % folds
                    split = {0: "test", 1: "tune"}.get(side)
                    if split is None:
                        continue
                    rows.append(
                        {
                            "slide_id": f"s{patient:03d}-{slide}",
                            "patient_id": f"p{patient:03d}",
                            "fold": fold,
                            "seed": seed,
                            "split": split,
                            "target": classes[target],
                            "classes": list(classes),
                            "logits": logits.tolist(),
                            "site": ("Leeds", "Oslo", "Utrecht")[patient // 2 % 3],
                            "scanner": "GT450" if patient % 29 else None,
                        }
                    )
    return rows


@pytest.fixture(scope="session")
def simulated() -> Callable[..., Rows]:
    return simulate


@pytest.fixture(scope="session")
def write_rows(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Rows], Path]:
    """Write rows as Parquet; returns the folder."""

    def write(rows: Rows) -> Path:
        folder = tmp_path_factory.mktemp("mil")
        parquet.write_table(pa.Table.from_pylist(rows), folder / "predictions.parquet")
        return folder

    return write


@pytest.fixture(scope="session")
def read_rows(write_rows: Callable[[Rows], Path]) -> Callable[[Rows], Predictions]:
    def read(rows: Rows) -> Predictions:
        return read_predictions(write_rows(rows))

    return read
