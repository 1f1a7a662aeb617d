"""What `progress.json` says: written by the driver of a run, read by whoever watches it."""

import json
import math
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any

from pipelines.errors import DamagedError

PROGRESS_NAME = "progress.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What a driver says of itself and its run.

    Attributes
    ----------
    state
        ``"running"``, then ``"finished"``, ``"interrupted"`` by a signal, or ``"broken"`` by the
        error in `message`.
    host, pid
        The driver.
    space, start
        What its process number is unique in, and when it began, see `pipelines.processes`.
    beat
        When it said so, seconds since 1970 by its own machine's clock.
    elapsed_s
        Since its start, by a clock that nobody sets.
    total
        Slides of the cohort.
    n_in_hand, in_hand
        Slides given to workers and not finished, and the first of them by id.
    done_share, worked_share
        Shares of the cohort's bytes, 0-1: finished, and worked on, not merely found done. A slide
        in hand counts by its blocks that are done.
    blocks_done, blocks_total
        Of the slides in hand that were cut into blocks.
    tiles
        Embedded, of slides in hand as far as their blocks are done.
    """

    state: str
    message: str
    host: str
    pid: int
    beat: float
    elapsed_s: float
    total: int
    n_in_hand: int
    in_hand: tuple[str, ...]
    done_share: float
    worked_share: float
    blocks_done: int = 0
    blocks_total: int = 0
    tiles: int = 0
    space: str = ""
    start: str = ""

    @property
    def driver(self) -> tuple[str, str, int, str]:
        """What tells one driver from another."""
        return (self.host, self.space, self.pid, self.start)


def read_said(folder: Path) -> Said | None:
    """What the driver of the run in `folder` said last; None where no run has begun.

    Raises
    ------
    DamagedError
        If its file is not what a driver writes.
    """
    path = folder / PROGRESS_NAME
    try:
        return _said_from(json.loads(path.read_text(encoding="utf-8")))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValueError as error:
        raise DamagedError.of(path, str(error)) from error


def _said_from(values: Any) -> Said:
    if not isinstance(values, Mapping):
        raise ValueError(f"it holds {json.dumps(values)[:40]} and no object")  # noqa: TRY004
    known: dict[str, Any] = {}
    for field in fields(Said):
        if field.name in values:
            known[field.name] = _checked(field.name, values[field.name], field.type)
        elif field.default is MISSING:  # the others an earlier version did not write
            raise ValueError(f"it lacks {field.name!r}")
    return Said(**known)


def _checked(name: str, value: Any, kind: Any) -> Any:
    """A value of the `kind` that the attribute is annotated with."""
    if kind is float and isinstance(value, int | float) and math.isfinite(value):
        return float(value)
    if kind in (int, str) and isinstance(value, kind):
        return value
    if kind == tuple[str, ...] and isinstance(value, list):
        return tuple(map(str, value))
    raise ValueError(f"its {name!r} is {json.dumps(value)[:40]}")
