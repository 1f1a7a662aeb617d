"""Leaving a region out is the head on the other tiles, and nothing else."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import softmax
from torch import nn

from pipelines.errors import UsageError
from pipelines.explain.regions import as_heatmap, as_table, leave_region_out
from wsi.tilestore import TileTable

EDGE = 100


class MeanHead(nn.Module):
    """Logits of class 1: the mean of the embeddings' first number; of class 0 nothing."""

    def forward(self, bags: torch.Tensor, bag_mask: torch.Tensor) -> Any:
        assert bag_mask.all()
        mean = bags[..., 0].mean(1)
        return SimpleNamespace(logits=torch.stack([0 * mean, mean], 1))


def table(values: np.ndarray) -> TileTable:
    """Tiles side by side whose embeddings are (rows, columns) values; NaN where there is none."""
    rows, columns = np.nonzero(~np.isnan(values))
    return TileTable(
        coords=np.stack([columns, rows], 1).astype(np.int64) * EDGE,
        embeddings=values[rows, columns].astype(np.float32)[:, None],
        invalid=np.zeros((0, 2), np.int64),
        attributes={
            "patch_size": EDGE,
            "stride": EDGE,
            "mpp": 0.5,
            "level0_mpp": 0.5,
            "level0_width": values.shape[1] * EDGE,
            "level0_height": values.shape[0] * EDGE,
        },
    )


def test_each_change_is_the_score_of_the_rest() -> None:
    values = np.random.default_rng(0).normal(size=(4, 6))
    values[:2, :2] = np.nan  # a region without tiles
    effects = leave_region_out(MeanHead(), table(values), index=1, temperature=1.0, cells=3)
    assert effects.cell_level0_px == 2 * EDGE
    assert effects.without.shape == (2, 3)
    assert effects.n_tiles.tolist() == [[0, 4, 4], [4, 4, 4]]
    assert effects.log_odds == pytest.approx(np.nanmean(values), rel=1e-5)
    assert effects.score == pytest.approx(1 / (1 + np.exp(-np.nanmean(values))), rel=1e-5)
    assert np.isnan(effects.log_odds_change[0, 0])
    assert np.isnan(effects.score_change[0, 0])
    for row, column in np.argwhere(effects.n_tiles):
        without = values.copy()
        without[2 * row : 2 * row + 2, 2 * column : 2 * column + 2] = np.nan
        of_rest, fall = np.nanmean(without), np.nanmean(values) - np.nanmean(without)
        assert effects.log_odds_change[row, column] == pytest.approx(fall, abs=1e-6)
        score_fall = 1 / (1 + np.exp(-np.nanmean(values))) - 1 / (1 + np.exp(-of_rest))
        assert effects.score_change[row, column] == pytest.approx(score_fall, abs=1e-6)


def test_the_temperature_divides_the_log_odds_as_it_does_in_a_run() -> None:
    tiles = table(np.random.default_rng(0).normal(size=(4, 6)))
    raw, calibrated = (
        leave_region_out(MeanHead(), tiles, index=1, temperature=t, cells=3) for t in (1.0, 4.0)
    )
    assert calibrated.log_odds == pytest.approx(raw.log_odds / 4)
    np.testing.assert_allclose(calibrated.log_odds_change, raw.log_odds_change / 4)


def test_of_three_classes_the_logits_are_divided_as_in_a_run() -> None:
    class ThreeHead(nn.Module):
        def forward(self, bags: torch.Tensor, bag_mask: torch.Tensor) -> Any:
            mean = bags[..., 0].mean(1)
            return SimpleNamespace(logits=torch.stack([mean, 5 * mean, 3 * mean], 1))

    values = np.random.default_rng(0).normal(size=(4, 6))
    effects = leave_region_out(ThreeHead(), table(values), index=1, temperature=2.5, cells=3)
    expected = softmax(values.mean() * np.array([1, 5, 3]) / 2.5)[1]
    assert effects.score == pytest.approx(expected, rel=1e-5)
    rest = values.copy()
    rest[:2, :2] = np.nan
    without = softmax(np.nanmean(rest) * np.array([1, 5, 3]) / 2.5)[1]
    assert effects.score_change[0, 0] == pytest.approx(expected - without, abs=1e-6)


def test_the_region_that_makes_the_score_stands_out() -> None:
    values = np.full((4, 8), -1.0)
    values[2:, 6:] = 5.0
    tiles = table(values)
    effects = leave_region_out(MeanHead(), tiles, index=1, temperature=1.0, cells=4)
    change = effects.log_odds_change
    assert np.unravel_index(change.argmax(), change.shape) == (1, 3)
    assert (change[effects.n_tiles > 0] < 0).sum() == 7
    first, *others = as_table(effects)
    assert (first["x"], first["y"], first["n_tiles"]) == (600, 200, 4)
    assert first["log_odds_without"] == pytest.approx(-1)
    assert first["score_without"] == pytest.approx(1 / (1 + np.e))
    assert first["score_change"] == pytest.approx(effects.score - 1 / (1 + np.e))
    assert all(abs(first["log_odds_change"]) >= abs(o["log_odds_change"]) for o in others)
    other = leave_region_out(MeanHead(), tiles, index=0, temperature=1.0, cells=4)
    np.testing.assert_allclose(other.log_odds_change, -change, atol=1e-6)
    np.testing.assert_allclose(other.score_change, -effects.score_change, atol=1e-6)


@pytest.mark.parametrize("is_calibrated", [True, False])
def test_the_legend_says_what_the_colours_are_of(is_calibrated: bool) -> None:
    values = np.full((4, 8), -1.0)
    values[2:, 6:] = 5.0
    tiles = table(values)
    effects = leave_region_out(MeanHead(), tiles, index=1, temperature=1.0, cells=4)
    heatmap = as_heatmap(effects, tiles, target="tumour", is_calibrated=is_calibrated)
    points, log_odds = heatmap.channels
    assert ("probability" in points.title) == is_calibrated
    assert ("nobody calibrated" in points.meaning) != is_calibrated
    assert "percentage points" in points.title
    assert "log-odds" in log_odds.title
    np.testing.assert_allclose(heatmap.values[0], 100 * effects.score_change, rtol=1e-5)
    np.testing.assert_allclose(heatmap.values[1], effects.log_odds_change, rtol=1e-6)
    for channel, shown in zip(heatmap.channels, heatmap.values, strict=True):
        assert channel.low == -channel.high < 0
        assert channel.high == pytest.approx(np.nanmax(shown), rel=0.05)


def test_a_slide_of_one_region_has_nothing_to_compare_with() -> None:
    tiles = table(np.ones((2, 2)))
    effects = leave_region_out(MeanHead(), tiles, index=1, temperature=1.0, cells=1)
    assert np.isnan(effects.without).all()
    (row,) = as_table(effects)
    assert row["score_change"] is row["log_odds_change"] is None
    assert row["n_tiles"] == 4
    heatmap = as_heatmap(effects, tiles, target="t", is_calibrated=True)
    assert [channel.high for channel in heatmap.channels] == [1, 1]


def test_regions_are_not_smaller_than_tiles() -> None:
    effects = leave_region_out(
        MeanHead(), table(np.ones((3, 5))), index=1, temperature=1.0, cells=100
    )
    assert effects.n_tiles.tolist() == np.ones((3, 5)).tolist()
    with pytest.raises(UsageError, match="--regions 0"):
        leave_region_out(MeanHead(), table(np.ones((2, 2))), index=1, temperature=1.0, cells=0)
