"""The slides with the most tiles: whether a process of the run may hold what they need."""

import heapq
import math
from collections.abc import Sequence

from pipelines.check.estimate import bag_bytes
from pipelines.check.look import Checked, Work
from pipelines.check.measure import Fixed, Rates
from pipelines.cohort.manifest import Entry

KEPT = 10  # slides, and not the cohort


class Largest:
    """The `KEPT` slides with the most tiles of those that were added."""

    def __init__(self) -> None:
        self._found: list[tuple[int, int, Entry]] = []  # a heap: the one with the fewest first
        self._added = 0

    def add(self, entry: Entry, work: Work) -> None:
        """Keep a slide as long as few have more tiles."""
        self._added += 1
        found = work.n_tiles, -self._added, entry  # of as many tiles, the first
        if len(self._found) < KEPT:
            heapq.heappush(self._found, found)
        else:
            heapq.heappushpop(self._found, found)

    def beyond(self, fixed: Fixed, tried: Sequence[Rates], *, dim: int) -> list[Checked]:
        """Those whose process would be ended, the largest first; `dim` numbers an embedding.

        The limit is that of the processes in which pieces were tried: the run's has the same.
        """
        limit = min((r.limit_bytes for r in tried if r.limit_bytes is not None), default=math.inf)
        held = max(fixed.held_bytes, *(rates.held_bytes for rates in tried), 0)
        beyond = []
        for n_tiles, _, entry in sorted(self._found, reverse=True):
            needed = held + bag_bytes(n_tiles, dim)
            if needed <= limit:
                break
            message = (
                f"with {n_tiles} tiles its process needs about {needed / 2**30:.2f} GiB, and the "
                f"limit is {limit / 2**30:.2f} GiB: raise 'memory_gb' in [limits] of the "
                "configuration, use fewer workers, or machines with more memory"
            )
            beyond.append(
                Checked(
                    slide_id=entry.ref.slide_id,
                    path=str(entry.ref.path),
                    reason="out_of_memory",
                    message=message,
                )
            )
        return beyond
