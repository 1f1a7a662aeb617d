"""Thresholds chosen on held-out images: one at a time, in turns, until none is better."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from distill.metrics import Scores, score
from distill.teachers.postprocess import Thresholds, separate
from distill.teachers.split import Sources

Maps = Mapping[str, Sequence[NDArray[np.float32]]]

GRID: Mapping[str, tuple[float, ...]] = {
    "nuclei": (0.35, 0.4, 0.45, 0.5, 0.55, 0.6),
    "depth": (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4),
    "smooth_px": (0.5, 1.0, 1.5, 2.0, 3.0),
    "least_px": (20, 40, 60, 90, 120),
}


def score_all(held_out: Sources, maps: Maps, thresholds: Thresholds) -> dict[str, list[Scores]]:
    """Score each held-out image by source, from its maps."""
    return {
        source: [
            score(image.instances, separate(of_image, thresholds))
            for image, of_image in zip(images, maps[source], strict=True)
        ]
        for source, images in held_out.items()
    }


def merit(scores: Mapping[str, Sequence[Scores]]) -> float:
    """One number to choose by: the mean of AJI and PQ, each source counting alike.

    Where there is no nucleus and none was found, nothing is measured; 0 if that is everywhere.
    """
    values = ([(s.aji + s.pq) / 2 for s in images] for images in scores.values())
    measured = (np.array(of)[np.isfinite(of)] for of in values)
    by_source = [of.mean() for of in measured if len(of)]
    return float(np.mean(by_source)) if by_source else 0.0


def tune(held_out: Sources, maps: Maps, *, start: Thresholds | None = None) -> Thresholds:
    """Go through the thresholds in turns, keeping the value with the greatest merit."""
    best = start or Thresholds()
    best_merit = merit(score_all(held_out, maps, best))
    improved = True
    while improved:
        improved = False
        for name, values in GRID.items():
            for value in values:
                if value == getattr(best, name):
                    continue
                tried = replace(best, **{name: value})  # type: ignore[arg-type]
                its_merit = merit(score_all(held_out, maps, tried))
                if its_merit > best_merit + 1e-4:
                    best, best_merit, improved = tried, its_merit, True
    return best
