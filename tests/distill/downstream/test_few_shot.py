"""Few-shot probes: fair episodes, and the prototype classifier against scikit-learn."""

from collections.abc import Callable

import numpy as np
import pytest
from sklearn.neighbors import NearestCentroid

from distill.downstream.dataset import LabelledImages
from distill.downstream.few_shot import Episode, draw_episodes, nearest_prototype
from distill.downstream.probe import Embedded, unit_length
from distill.downstream.splits import folds


def episodes(dataset: LabelledImages, shots: int, seed: int = 0) -> list[Episode]:
    return list(draw_episodes(dataset, folds(dataset, seed=seed), shots=shots, seed=seed))


@pytest.mark.parametrize("shots", [1, 5])
def test_an_episode_asks_patients_it_did_not_learn_from(
    coloured: Callable[..., LabelledImages], shots: int
) -> None:
    dataset = coloured(count=120)
    drawn = episodes(dataset, shots)
    assert [episode.number for episode in drawn] == list(range(20))
    for episode in drawn:
        assert np.bincount(dataset.targets[episode.support]).tolist() == [shots] * 3
        assert set(dataset.targets[episode.queries]) == {0, 1, 2}
        assert np.bincount(dataset.targets[episode.queries]).max() <= 15
        assert len(set(episode.queries)) == len(episode.queries)
        known, asked = (set(dataset.owners[of]) for of in (episode.support, episode.queries))
        assert not known & asked
    assert len({tuple(episode.support) for episode in drawn}) > 15


def test_episodes_are_nested_and_the_same_for_a_seed(
    coloured: Callable[..., LabelledImages],
) -> None:
    dataset = coloured(count=120)
    for one, five in zip(episodes(dataset, 1), episodes(dataset, 5), strict=True):
        assert set(one.support) < set(five.support)
        np.testing.assert_array_equal(one.queries, five.queries)
    again, other = episodes(dataset, 5), episodes(dataset, 5, seed=1)
    assert [set(e.support) for e in again] == [set(e.support) for e in episodes(dataset, 5)]
    assert [set(e.support) for e in again] != [set(e.support) for e in other]


def test_too_few_images_make_no_episode(coloured: Callable[..., LabelledImages]) -> None:
    assert episodes(coloured(count=48), 25) == []


def test_the_nearest_prototype_is_scikit_learns_centroid() -> None:
    generator = np.random.default_rng(0)
    targets = np.arange(15) % 3
    centres = generator.normal(size=(3, 8))
    rows = (centres[targets] + generator.normal(size=(15, 8)) + 5).astype(np.float32)
    asked = (centres[np.arange(90) % 3] + generator.normal(size=(90, 8)) + 5).astype(np.float32)
    owners = np.array([f"p{n}" for n in range(15)])
    train = Embedded(embeddings=rows, targets=targets, owners=owners, n_classes=3)
    answer = nearest_prototype(train, asked)
    known, wanted = unit_length(rows - rows.mean(0)), unit_length(asked - rows.mean(0))
    oracle = NearestCentroid().fit(known, targets)
    np.testing.assert_array_equal(answer.probs.argmax(1), oracle.predict(wanted))
    np.testing.assert_allclose(answer.probs.sum(1), 1, atol=1e-5)
    squared = np.square(wanted[0] - oracle.centroids_).sum(1)
    expected = np.exp(-squared) / np.exp(-squared).sum()
    np.testing.assert_allclose(answer.probs[0], expected, rtol=1e-4)
