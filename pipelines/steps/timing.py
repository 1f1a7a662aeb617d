"""How long a model waited for its tiles, against how long it worked on them."""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

Batch = TypeVar("Batch")


@dataclass(slots=True, kw_only=True)
class Timing:
    """Seconds spent on both sides of a loop over batches.

    Attributes
    ----------
    waited_s
        Until the next batch was there.
    worked_s
        On the batches: their quality, their stain, the model.
    """

    waited_s: float = 0.0
    worked_s: float = 0.0

    def over(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """Pass batches on, measuring what passes before each, and until the next is asked for."""
        asked = time.perf_counter()
        for batch in batches:
            came = time.perf_counter()
            self.waited_s += came - asked
            yield batch
            asked = time.perf_counter()
            self.worked_s += asked - came
