"""Probes on embeddings: against scikit-learn, and on embeddings whose answer is known."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler

from distill.downstream.knn import NEIGHBOURS, TEMPERATURE, nearest_neighbours
from distill.downstream.linear import STRENGTHS, UNTUNED, linear_probe
from distill.downstream.probe import Answer, Embedded, standardise
from distill.downstream.splits import TUNED_PATIENTS

Probe = Callable[..., Answer]


def blobs(count: int, seed: int, spread: float = 1.0) -> tuple[Embedded, NDArray[np.int64]]:
    generator = np.random.default_rng(seed)
    targets = np.arange(count) % 3
    centres = np.random.default_rng(99).normal(0, 2, (3, 8))
    rows = centres[targets] + generator.normal(0, spread, (count, 8))
    owners = np.array([f"p{n // 6}" for n in range(count)])
    embedded = Embedded(
        embeddings=rows.astype(np.float32), targets=targets, owners=owners, n_classes=3
    )
    return embedded, targets


@pytest.mark.parametrize("probe", [nearest_neighbours, linear_probe])
def test_what_is_separable_is_told_apart(probe: Probe) -> None:
    train, _ = blobs(120, seed=0)
    asked, truth = blobs(60, seed=1)
    answer = probe(train, asked.embeddings, seed=0)
    assert answer.probs.shape == (60, 3)
    assert answer.probs.dtype == np.float32
    np.testing.assert_allclose(answer.probs.sum(1), 1, atol=1e-5)
    assert (answer.probs.argmax(1) == truth).mean() > 0.9


@pytest.mark.parametrize("probe", [nearest_neighbours, linear_probe])
def test_scale_and_shift_of_a_dimension_change_nothing(probe: Probe) -> None:
    train, _ = blobs(90, seed=0, spread=3)
    asked, _ = blobs(30, seed=1, spread=3)
    scale, shift = np.array([1, 10, 0.1, 1, 1, 5, 1, 1]), np.arange(8)
    moved = Embedded(
        embeddings=(train.embeddings * scale + shift).astype(np.float32),
        targets=train.targets,
        owners=train.owners,
        n_classes=3,
    )
    plain = probe(train, asked.embeddings, seed=0)
    changed = probe(moved, (asked.embeddings * scale + shift).astype(np.float32), seed=0)
    np.testing.assert_allclose(changed.probs, plain.probs, atol=5e-3)


def test_neighbours_are_scikit_learns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("distill.downstream.knn.ROWS", 7)  # in several parts
    train, _ = blobs(100, seed=0, spread=4)
    asked, _ = blobs(40, seed=1, spread=4)
    scaler = StandardScaler().fit(train.embeddings)
    oracle = KNeighborsClassifier(
        NEIGHBOURS,
        metric="cosine",
        algorithm="brute",
        weights=lambda distance: np.exp((1 - distance) / TEMPERATURE),
    ).fit(scaler.transform(train.embeddings), train.targets)
    expected = oracle.predict_proba(scaler.transform(asked.embeddings))
    answer = nearest_neighbours(train, asked.embeddings)
    np.testing.assert_allclose(answer.probs, expected, atol=1e-4)
    assert answer.setting == "k=20"


def test_fewer_images_than_neighbours() -> None:
    train, _ = blobs(6, seed=0)
    asked, _ = blobs(9, seed=1)
    answer = nearest_neighbours(train, asked.embeddings)
    assert answer.setting == "k=6"
    assert np.isfinite(answer.probs).all()


def test_the_linear_probe_is_scikit_learns_at_the_chosen_strength() -> None:
    train, _ = blobs(120, seed=0, spread=3)
    asked, _ = blobs(40, seed=1, spread=3)
    answer = linear_probe(train, asked.embeddings, seed=0)
    strength = float(answer.setting.removeprefix("C="))
    assert strength in STRENGTHS
    scaler = StandardScaler().fit(train.embeddings)
    oracle = LogisticRegression(C=strength, max_iter=2000, tol=1e-6)
    oracle.fit(scaler.transform(train.embeddings), train.targets)
    expected = oracle.predict_proba(scaler.transform(asked.embeddings))
    np.testing.assert_allclose(answer.probs, expected, atol=0.01)


def test_noise_is_regularised_more_than_a_clear_signal() -> None:
    clear, _ = blobs(120, seed=0, spread=0.3)
    noisy, _ = blobs(120, seed=0, spread=30)
    chosen = [
        float(linear_probe(train, train.embeddings, seed=0).setting.removeprefix("C="))
        for train in (noisy, clear)
    ]
    assert chosen[0] < chosen[1]


@pytest.mark.parametrize("patients", [1, TUNED_PATIENTS - 1])
def test_of_few_patients_none_is_validated_on_and_the_answer_says_so(patients: int) -> None:
    train, _ = blobs(6 * patients, seed=0)
    answer = linear_probe(train, train.embeddings)
    assert answer.setting == f"C={UNTUNED:g}, not validated"
    more, _ = blobs(6 * TUNED_PATIENTS, seed=0)
    assert "not validated" not in linear_probe(more, more.embeddings).setting


def test_a_constant_dimension_becomes_zero() -> None:
    rows = np.array([[1, 5], [3, 5]], np.float32)
    (train, other) = standardise(rows, np.array([[2, 9]], np.float32))
    np.testing.assert_allclose(train, [[-1, 0], [1, 0]])
    np.testing.assert_allclose(other, [[0, 0]])
