"""What a run will take, from what there is to do and what a piece of it took."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from pipelines.check.compare import CHECK_NAME, duration
from pipelines.check.look import Work
from pipelines.check.measure import Fixed, Rates
from pipelines.remote.local_copy import leave

WORDS_PER_TILE = 3  # copies of its embedding that a slide's bag has in memory at the same time


@dataclass(slots=True, kw_only=True)
class Totals:
    """What there is to do in a cohort; grows by slides, and does not keep them."""

    slides: int = 0
    tiles: int = 0
    most_tiles: int = 0
    tissue_mm2: float = 0.0
    most_mm2: float = 0.0
    copied_megapixels: float = 0.0
    decoded_megapixels: float = 0.0
    most_megapixels: float = 0.0
    look_seconds: float = 0.0

    def add(self, work: Work) -> None:
        """Count a slide."""
        self.slides += 1
        self.tiles += work.n_tiles
        self.most_tiles = max(self.most_tiles, work.n_tiles)
        self.tissue_mm2 += work.tissue_mm2
        self.most_mm2 = max(self.most_mm2, work.tissue_mm2)
        self.most_megapixels = max(self.most_megapixels, work.megapixels)
        if work.is_copied:
            self.copied_megapixels += work.megapixels
        else:
            self.decoded_megapixels += work.megapixels
        self.look_seconds += work.look_seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What a run will take.

    Attributes
    ----------
    seconds
        From its first slide to the end of its report.
    bytes_out
        Of its folder.
    at_work_bytes
        At most, of the results of the slides that are at work at the same time: what the scratch
        disk of a run at a URL has to hold.
    process_bytes
        The most memory that one of its processes holds, resident.
    peak_bytes
        Memory of all its worker processes together.
    """

    seconds: float
    bytes_out: float
    at_work_bytes: float
    process_bytes: float
    peak_bytes: float

    def describe(self) -> str:
        """One line."""
        return (
            f"about {duration(self.seconds)}, {self.bytes_out / 1e9:.3g} GB of results, "
            f"{self.peak_bytes / 2**30:.2g} GiB of memory"
        )


def estimate(
    totals: Totals, fixed: Fixed, tried: Sequence[Rates], *, dim: int, workers: int
) -> Estimate:
    """Add up the pieces; `dim` numbers an embedding."""
    tile_seconds = _mean([rates.tile_seconds for rates in tried])
    tile_bytes = _mean([rates.tile_bytes for rates in tried])
    seconds = totals.slides * fixed.slide_seconds + totals.look_seconds
    seconds += totals.tiles * tile_seconds + totals.tissue_mm2 * fixed.mm2_seconds
    size = totals.slides * fixed.slide_bytes
    size += totals.tiles * tile_bytes + totals.tissue_mm2 * fixed.mm2_bytes
    for is_copied, megapixels in (
        (True, totals.copied_megapixels),
        (False, totals.decoded_megapixels),
    ):
        alike = [rates for rates in tried if rates.is_copied == is_copied] or tried
        seconds += megapixels * _mean([rates.megapixel_seconds for rates in alike])
        size += megapixels * _mean([rates.megapixel_bytes for rates in alike])
    largest = fixed.slide_bytes + totals.most_tiles * tile_bytes
    largest += totals.most_mm2 * fixed.mm2_bytes
    largest += totals.most_megapixels * max(rates.megapixel_bytes for rates in tried)
    at_once = min(workers, max(totals.slides, 1))
    peak = max(fixed.peak_bytes, *(rates.peak_bytes for rates in tried))
    peak += bag_bytes(totals.most_tiles, dim)
    return Estimate(
        seconds=fixed.start_seconds + seconds / at_once + totals.slides * fixed.report_seconds,
        bytes_out=size,
        at_work_bytes=min(at_once * largest, size),
        process_bytes=float(peak),
        peak_bytes=float(peak * at_once),
    )


def bag_bytes(n_tiles: int, dim: int) -> int:
    """Memory for a slide's embeddings of `dim` numbers while its tiles are joined."""
    return n_tiles * dim * 4 * WORDS_PER_TILE


def write_check(out: Path, found: Mapping[str, Any]) -> None:
    """Keep what a check found, for the run's report."""
    leave(out / CHECK_NAME, json.dumps(found, indent=1))


def as_json(value: Estimate | Totals | Fixed | Rates) -> dict[str, Any]:
    """For `check.json`."""
    return asdict(value)


def _mean(values: Sequence[float]) -> float:
    return fmean(values) if values else 0.0
