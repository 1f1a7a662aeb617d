"""What a person sees while slides are worked on: a bar on a terminal, plain lines elsewhere."""

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

COLOURS = {"ok": "green", "partial": "yellow", "failed": "red"}


class Record(Protocol):
    """What can be said of a slide that is done."""

    @property
    def verdict(self) -> str:
        """``"ok"``, ``"partial"`` or ``"failed"``."""

    @property
    def work(self) -> float:
        """How much was done for it, in the unit the progress is shown in."""

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""

    def describe(self) -> str:
        """One line about the slide."""


@contextmanager
def slide_progress(total: int, *, as_json: bool, unit: str) -> Iterator[Callable[[Record], None]]:
    """Give a function to call with each finished record.

    On a terminal: a bar with slides, `unit` per second and the time left, and a line
    for each slide that is not ok. Otherwise one line a slide; with `as_json`, one JSON object a
    slide, as long as somebody reads them.
    """
    if as_json:

        def print_json(record: Record) -> None:
            try:
                sys.stdout.write(json.dumps(record.as_dict()) + "\n")
                sys.stdout.flush()
            except BrokenPipeError:
                # Nobody reads on, as after `| head`; the slides are wanted all the same.
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

        yield print_json
        return

    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    if not console.is_terminal:
        done = 0

        def print_line(record: Record) -> None:
            nonlocal done
            done += 1
            sys.stderr.write(f"[{done}/{total}] {record.describe()}\n")
            sys.stderr.flush()

        yield print_line
        return

    columns = (
        TextColumn("slides"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("slides", total=total, rate="")
        done_work = 0.0

        def advance(record: Record) -> None:
            nonlocal done_work
            done_work += record.work
            elapsed = bar.tasks[0].elapsed or 0
            rate = f"{done_work / elapsed:.0f} {unit}/s" if elapsed else ""
            bar.update(task, advance=1, rate=rate)
            if record.verdict != "ok":
                bar.console.print(
                    record.describe(), style=COLOURS[record.verdict], markup=False, highlight=False
                )

        yield advance
