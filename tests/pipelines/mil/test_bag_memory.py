"""What is kept in memory is what the file holds, and never more than the bound."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from pipelines.mil.bag_memory import BagMemory
from pipelines.mil.features import Features, open_features

TILES, DIM = 10, 4
BYTES = TILES * DIM * 2


@pytest.fixture
def slides(tmp_path: Path) -> list[Features]:
    """Three slides of as many bytes each."""
    random = np.random.default_rng(0)
    for number in range(3):
        with h5py.File(tmp_path / f"{number}.h5", "w") as file:
            file["features"] = random.standard_normal((TILES, DIM)).astype(np.float16)
    return [open_features(tmp_path / f"{number}.h5") for number in range(3)]


def count_reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that are read from now on, as they are."""
    names: list[str] = []
    read = Features.read

    def watched(self: Features) -> np.ndarray:
        names.append(self.path.name)
        return read(self)

    monkeypatch.setattr(Features, "read", watched)
    return names


def test_a_cohort_that_fits_is_read_once(
    slides: list[Features], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = [slide.read() for slide in slides]
    names = count_reads(monkeypatch)
    memory = BagMemory(most_bytes=3 * BYTES)
    for _epoch in range(3):
        for slide, embeddings in zip(slides, expected, strict=True):
            np.testing.assert_array_equal(memory.read(slide), embeddings)
            assert memory.read(slide).dtype == embeddings.dtype
    assert names == ["0.h5", "1.h5", "2.h5"]
    assert memory.kept_bytes == 3 * BYTES


def test_of_one_that_does_not_fit_the_first_stay(
    slides: list[Features], monkeypatch: pytest.MonkeyPatch
) -> None:
    names = count_reads(monkeypatch)
    memory = BagMemory(most_bytes=3 * BYTES - 1)
    for order in ([0, 1, 2], [2, 0, 1], [1, 2, 0]):
        for number in order:
            memory.read(slides[number])
        assert memory.kept_bytes == 2 * BYTES
    assert names == ["0.h5", "1.h5", "2.h5", "2.h5", "2.h5"]


def test_a_slide_beyond_the_bound_is_not_kept(slides: list[Features]) -> None:
    memory = BagMemory(most_bytes=BYTES - 1)
    assert memory.read(slides[0]) is not memory.read(slides[0])
    assert memory.kept_bytes == 0
