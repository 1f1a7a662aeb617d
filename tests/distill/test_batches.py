"""Batches by number: the same whoever draws them, and shared without overlap."""

from itertools import chain, islice

import numpy as np
import pytest
import torch
from torch import Generator, Tensor

from distill import group
from distill.batches import numbered_batches

KEPT = np.arange(10, 33)


def draw(index: np.ndarray, generator: Generator) -> tuple[Tensor, Tensor]:
    return torch.from_numpy(index.copy()), torch.rand(3, generator=generator)


def batches(count: int, first: int = 0, seed: int = 0) -> list[tuple[list[int], list[float]]]:
    stream = numbered_batches(draw, KEPT, size=6, seed=seed, first=first)
    return [(tiles.tolist(), noise.tolist()) for tiles, noise in islice(stream, count)]


def test_a_batch_depends_on_its_number_and_the_seed_alone() -> None:
    whole = batches(10)
    assert batches(4, first=6) == whole[6:]
    assert batches(10, seed=1) != whole
    assert len({tuple(noise) for _, noise in whole}) == 10


def test_each_round_is_shuffled_anew_and_has_no_tile_twice() -> None:
    whole = [tiles for tiles, _ in batches(6)]  # three batches of 6 a round of 23
    rounds = [list(chain(*whole[:3])), list(chain(*whole[3:]))]
    for tiles in rounds:
        assert len(set(tiles)) == 18
        assert set(tiles) <= set(KEPT.tolist())
    assert rounds[0] != rounds[1]


def test_processes_share_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    alone = batches(5)
    monkeypatch.setattr(group, "size", lambda: 2)
    shares = []
    for rank in (0, 1):
        monkeypatch.setattr(group, "rank", lambda rank=rank: rank)
        shares.append(batches(5))
    for (tiles, _), (one, noise), (other, other_noise) in zip(alone, *shares, strict=True):
        assert sorted(one + other) == sorted(tiles)
        assert len(one) == len(other) == 3
        assert noise != other_noise
