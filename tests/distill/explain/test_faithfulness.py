"""Measures of a map on a score whose reasons are known."""

import numpy as np
import pytest
import torch
from torch import nn

from distill.explain.faithfulness import deletion_insertion, random_map
from distill.explain.nuclei_share import nuclei_share
from distill.explain.randomise import rank_correlation, with_shuffled_weights


def test_curves_by_hand() -> None:
    """Four pixels worth 8, 4, 2 and 1 in the order of the map, and in the reverse."""
    image = torch.tensor([[8.0, 4.0], [2.0, 1.0]]).expand(3, 2, 2)
    blank = torch.zeros_like(image)
    right = deletion_insertion(lambda x: x[:, 0].sum((1, 2)), image, blank, image[0], steps=4)
    assert right.share.tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert right.deletion.tolist() == [15, 7, 3, 1, 0]
    assert right.insertion.tolist() == [0, 8, 12, 14, 15]
    assert right.deletion_area == pytest.approx((7.5 + 7 + 3 + 1) / 4)
    assert right.insertion_area == pytest.approx((8 + 12 + 14 + 7.5) / 4)
    wrong = deletion_insertion(lambda x: x[:, 0].sum((1, 2)), image, blank, -image[0], steps=4)
    assert wrong.deletion.tolist() == [15, 14, 12, 8, 0]
    assert wrong.deletion_area > right.deletion_area
    assert wrong.insertion_area < right.insertion_area


def test_a_map_of_the_corner_beats_chance(corner) -> None:
    image, blank = corner.x[0], torch.zeros_like(corner.x[0])
    known = deletion_insertion(corner.score, image, blank, corner.inside.float(), batch_size=3)
    assert known.deletion[0] == pytest.approx(float(corner.score(corner.x)[0]), rel=1e-5)
    assert known.deletion[-1] == known.insertion[0] == 0
    for seed in range(5):
        chance = random_map((32, 32), cell_px=4, seed=seed)
        blind = deletion_insertion(corner.score, image, blank, chance)
        assert known.deletion_area < 0.6 * blind.deletion_area
        assert known.insertion_area > 1.3 * blind.insertion_area
    with pytest.raises(ValueError, match="steps = 0"):
        deletion_insertion(corner.score, image, blank, corner.inside.float(), steps=0)


def test_random_maps_are_squares_of_their_seed() -> None:
    one = random_map((10, 7), cell_px=4, seed=3)
    assert one.shape == (10, 7)
    assert len(one.unique()) == 3 * 2
    assert (one[:4, :4] == one[0, 0]).all()
    assert torch.equal(one, random_map((10, 7), cell_px=4, seed=3))
    assert not torch.equal(one, random_map((10, 7), cell_px=4, seed=4))


def test_the_share_of_nuclei_counts_what_speaks_for_the_score() -> None:
    nuclei = np.zeros((4, 4), bool)
    nuclei[0] = True
    values = np.ones((4, 4))
    even = nuclei_share(values, nuclei)
    assert (even.attribution, even.area, even.ratio) == (0.25, 0.25, 1.0)
    values[0] = 6
    values[3] = -100
    some = nuclei_share(values, nuclei)
    assert some.attribution == 24 / 32
    assert some.ratio == 3
    assert np.isnan(nuclei_share(-values.clip(0), nuclei).attribution)
    assert np.isnan(nuclei_share(values, nuclei & False).ratio)
    with pytest.raises(ValueError, match=r"\(4, 4\)"):
        nuclei_share(values, nuclei[:2])


def test_shuffled_weights_are_the_same_numbers_elsewhere() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Conv2d(8, 1, 1))
    shuffled = with_shuffled_weights(net, seed=1)
    for before, after in zip(net.parameters(), shuffled.parameters(), strict=True):
        assert torch.equal(before.flatten().sort().values, after.flatten().sort().values)
    assert not torch.equal(net[0].weight, shuffled[0].weight)
    again = with_shuffled_weights(net, seed=1)
    assert torch.equal(again[0].weight, shuffled[0].weight)


def test_maps_are_compared_by_rank_and_without_signs() -> None:
    rng = np.random.default_rng(0)
    one = rng.normal(size=(20, 20))
    assert rank_correlation(one, -np.sign(one) * one**2) == pytest.approx(1)
    assert abs(rank_correlation(one, rng.normal(size=(20, 20)))) < 0.2
    assert np.isnan(rank_correlation(one, np.zeros((20, 20))))
    assert np.isnan(rank_correlation(one, one * np.nan))
