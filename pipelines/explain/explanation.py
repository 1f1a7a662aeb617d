"""A tile explained: every method's map, and how far each map is to be trusted."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import expit

from distill.encoders import Encoder
from distill.explain.faithfulness import Curves, deletion_insertion, random_map
from distill.explain.integrated import completeness_gap
from distill.explain.nuclei_share import NucleiShare, nuclei_share
from distill.explain.randomise import rank_correlation, with_shuffled_weights
from distill.teachers.labelled import Instances
from pipelines.explain.methods import METHODS, STEPS, Input, Method
from pipelines.explain.score import TileScore
from wsi.slide import Pixels

RANDOM_ORDERS = 5  # maps of chance, beside which the others are seen


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainedBy:
    """What one method says of a tile.

    Attributes
    ----------
    values
        (S, S) float32.
    curves
        Scores from 0 to 1 while pixels leave for glass and return from it in the map's order.
    nuclei
        How much of the map lies on nuclei; None where nobody looked for them.
    shuffled
        Rank correlation with the map of the same network with shuffled weights, without signs:
        near 1 for a method that does not ask what was learned; NaN where a map is constant.
    """

    method: Method
    values: NDArray[np.float32]
    curves: Curves
    nuclei: NucleiShare | None
    shuffled: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """A tile's score and its explanations.

    Attributes
    ----------
    log_odds
        Of the class, for a slide made of this tile alone.
    baseline_log_odds
        The same of glass, where deletion ends and insertion begins.
    by
        One a method; `left_out` has the names of those the encoder does not allow.
    chance
        Curves of random orders.
    completeness_gap
        By how much the sum of integrated gradients misses the score's difference to glass.
    nuclei
        (S, S) int32, a number a nucleus; None where nobody looked for them.
    """

    pixels: Pixels
    log_odds: float
    baseline_log_odds: float
    by: tuple[ExplainedBy, ...]
    left_out: tuple[str, ...]
    chance: tuple[Curves, ...]
    completeness_gap: float
    window_px: int
    nuclei: Instances | None

    @property
    def score(self) -> float:
        """The log-odds as a number from 0 to 1."""
        return float(expit(self.log_odds))

    def as_dict(self) -> dict[str, Any]:
        """The numbers, without the maps; None for what is not a number."""
        numbers: dict[str, Any] = {
            "log_odds": self.log_odds,
            "score": self.score,
            "baseline_log_odds": self.baseline_log_odds,
            "occlusion_window_px": self.window_px,
            "integrated_gradients": {"steps": STEPS, "completeness_gap": self.completeness_gap},
            "methods": {each.method.name: _numbers(each) for each in self.by},
            "methods_left_out": list(self.left_out),
            "random_orders": {
                "deletion_area": mean_area(self.chance, "deletion_area"),
                "insertion_area": mean_area(self.chance, "insertion_area"),
                "orders": len(self.chance),
            },
        }
        if self.nuclei is not None:
            numbers["n_nuclei"] = len(np.unique(self.nuclei[self.nuclei > 0]))
        return numbers


def explain_pixels(
    score: TileScore,
    encoder: Encoder,
    pixels: Pixels,
    *,
    nuclei: Instances | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Explanation:
    """Explain the score of one tile (S, S, 3) by every method that its encoder allows."""
    tile = Input.of(encoder.normalise(pixels[None]), encoder)
    has_maps = score.has_feature_maps(tile.x)
    methods = [m for m in METHODS if has_maps or not m.needs_feature_maps]
    shuffled = with_shuffled_weights(score)
    by = []
    for method in methods:
        say(method.title)
        by.append(_explain(method, score, shuffled, tile, nuclei))
    with torch.no_grad():
        log_odds, of_glass = (float(score(x)) for x in (tile.x, tile.glass))
    integrated = next(each for each in by if each.method.name == "integrated_gradients")
    gap = completeness_gap(score, tile.x, tile.glass, torch.from_numpy(integrated.values)[None])
    shape = (pixels.shape[0], pixels.shape[1])
    chance = [
        _curves(score, tile, random_map(shape, cell_px=tile.window_px, seed=seed))
        for seed in range(RANDOM_ORDERS)
    ]
    return Explanation(
        pixels=pixels,
        log_odds=log_odds,
        baseline_log_odds=of_glass,
        by=tuple(by),
        left_out=tuple(m.name for m in METHODS if m not in methods),
        chance=tuple(chance),
        completeness_gap=float(gap),
        window_px=tile.window_px,
        nuclei=nuclei,
    )


def mean_area(curves: tuple[Curves, ...], name: str) -> float:
    """The mean of an area over several curves."""
    return float(np.mean([getattr(each, name) for each in curves]))


def _explain(
    method: Method,
    score: TileScore,
    shuffled: TileScore,
    tile: Input,
    nuclei: Instances | None,
) -> ExplainedBy:
    attribution = method.compute(score, tile)[0].detach().float()
    values = attribution.numpy()
    of_shuffled = method.compute(shuffled, tile)[0].detach().numpy()
    return ExplainedBy(
        method=method,
        values=values,
        curves=_curves(score, tile, attribution),
        nuclei=None if nuclei is None else nuclei_share(values, nuclei > 0),
        shuffled=rank_correlation(values, of_shuffled),
    )


def _curves(score: TileScore, tile: Input, attribution: torch.Tensor) -> Curves:
    return deletion_insertion(lambda x: score(x).sigmoid(), tile.x[0], tile.glass[0], attribution)


def _numbers(each: ExplainedBy) -> dict[str, Any]:
    numbers: dict[str, Any] = {
        "meaning": each.method.meaning,
        "deletion_area": each.curves.deletion_area,
        "insertion_area": each.curves.insertion_area,
        "rank_correlation_with_shuffled_weights": _finite(each.shuffled),
        "least": float(each.values.min()),
        "greatest": float(each.values.max()),
        "curves": {
            "share": each.curves.share.tolist(),
            "deletion": each.curves.deletion.tolist(),
            "insertion": each.curves.insertion.tolist(),
        },
    }
    if each.nuclei is not None:
        numbers["nuclei"] = {
            "attribution_share": _finite(each.nuclei.attribution),
            "area_share": each.nuclei.area,
            "ratio": _finite(each.nuclei.ratio),
        }
    return numbers


def _finite(number: float) -> float | None:
    return number if math.isfinite(number) else None
