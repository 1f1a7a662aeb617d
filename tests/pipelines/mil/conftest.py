"""Cohorts of embeddings in files, as other programs would leave them."""

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

DIM = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class CohortFiles:
    """A folder of embeddings and a table of labels."""

    features: Path
    labels: Path


def embeddings_of(number: int, *, tumour: bool, dim: int = DIM) -> NDArray[np.float32]:
    """Noise; in a tumour's slide some tiles are moved along the first directions."""
    generator = np.random.default_rng(number)
    embeddings = generator.standard_normal((int(generator.integers(12, 24)), dim))
    if tumour:
        embeddings[:4, :3] += 4
    return embeddings.astype(np.float32)


def write_labels(path: Path, header: Sequence[str], rows: Sequence[Sequence[object]]) -> Path:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


@pytest.fixture
def make_cohort(tmp_path: Path) -> Callable[..., CohortFiles]:
    """Write a cohort in TRIDENT's layout: two slides a patient, every second patient a tumour."""

    def make(slides: int = 32) -> CohortFiles:
        folder = tmp_path / "features"
        folder.mkdir()
        rows = []
        for n in range(slides):
            tumour = n // 2 % 2 == 1
            with h5py.File(folder / f"s{n}.h5", "w") as file:
                file["features"] = embeddings_of(n, tumour=tumour)
                file["coords"] = np.stack([np.arange(len(file["features"])) * 256] * 2, axis=1)
            rows.append((f"s{n}", f"p{n // 2}", "tumour" if tumour else "normal", f"site{n % 3}"))
        header = ("slide_id", "patient_id", "label", "site")
        return CohortFiles(
            features=folder, labels=write_labels(tmp_path / "labels.csv", header, rows)
        )

    return make
