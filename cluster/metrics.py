"""Counts of a run for Prometheus, through Ray's own exporter on the node of the driver."""

import os
from collections.abc import Mapping

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

from ray.util.metrics import Counter, Histogram

STEP_BOUNDARIES_S = [0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000, 3000]


class RunMetrics:
    """Slides by verdict, tiles, and seconds a step; Ray has to be connected.

    Prometheus sees ``ray_raypath_slides_total``, ``ray_raypath_tiles_total`` and
    ``ray_raypath_step_seconds``, among the metrics of Ray itself.
    """

    def __init__(self) -> None:
        self._slides = Counter("raypath_slides_total", "Slides finished.", ("verdict",))
        self._tiles = Counter("raypath_tiles_total", "Tiles embedded.")
        self._steps = Histogram(
            "raypath_step_seconds", "Time of a step on a slide.", STEP_BOUNDARIES_S, ("step",)
        )

    def count(self, *, verdict: str, tiles: int, seconds: Mapping[str, float]) -> None:
        """Add a finished slide: its verdict, tiles embedded now, and seconds by step done now."""
        self._slides.inc(1, {"verdict": verdict})
        if tiles:  # Ray's counters refuse to add nothing
            self._tiles.inc(tiles)
        for step, taken in seconds.items():
            self._steps.observe(taken, {"step": step})
