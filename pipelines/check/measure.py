"""What a piece of the work takes on this machine: tried, not assumed.

A small made-up slide goes through the whole run twice: the first time shows what starting costs,
the second what any slide costs, and nuclei and tissue classes by area. Of a few of the real slides
some tiles are embedded and some of the pyramid is written.
"""

import math
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from cluster.limits import mapped_bytes, memory_limit
from pipelines.cohort.manifest import Entry
from pipelines.memory import measured_peak
from pipelines.remote.workplace import own_folder
from pipelines.settings.config import RunConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Fixed:
    """What the made-up slide cost.

    Attributes
    ----------
    start_seconds
        Importing, and loading networks, once a process.
    slide_seconds, slide_bytes
        Of any slide, however small; without tiles, and what goes by area.
    report_seconds
        Its part of the report.
    mm2_seconds, mm2_bytes
        Nuclei and classes, a square millimetre of tissue.
    peak_bytes
        The most memory a process held.
    held_bytes
        The same as a limit counts it: without files that are mapped.
    """

    start_seconds: float
    slide_seconds: float
    slide_bytes: float
    report_seconds: float
    mm2_seconds: float
    mm2_bytes: float
    peak_bytes: int
    held_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """What a real slide cost, a tile and a megapixel; memory as of `Fixed`.

    `limit_bytes` is what its process might hold; None for no limit.
    """

    tile_seconds: float
    tile_bytes: float
    megapixel_seconds: float
    megapixel_bytes: float
    is_copied: bool
    peak_bytes: int
    held_bytes: int = 0
    limit_bytes: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasureTask:
    """A slide to try pieces of; without one the made-up slide is tried.

    `near` is where the run would write; None for the scratch disk of the machine that tries.
    `results` is where it puts the slide's files, see `drawn_tissue`.
    """

    config: RunConfig
    near: Path | None
    entry: Entry | None = None
    results: Path | None = None


def measure(task: MeasureTask) -> Fixed | Rates:
    """Try pieces of the work in a temporary folder in `near`, which is removed.

    Raises
    ------
    RayPathError
        If they cannot be done.
    """
    # Here, because the driver names this function and does not do it, and these load the networks.
    from pipelines.check.pieces import try_made_up, try_slide

    near = task.near or own_folder()
    with tempfile.TemporaryDirectory(prefix="raypath-check-", dir=near) as name:
        with measured_peak() as peak:
            if task.entry is None:
                measured: Fixed | Rates = try_made_up(Path(name), task.config)
            else:
                measured = try_slide(Path(name), task.config, task.entry, task.results)
                limit = memory_limit()
                measured = replace(measured, limit_bytes=limit if limit < math.inf else None)
        most = peak().rss_bytes
        return replace(measured, peak_bytes=most, held_bytes=max(most - mapped_bytes(), 0))
