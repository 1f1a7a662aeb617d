"""What a person sees while slides are worked on: a bar on a terminal, plain lines elsewhere."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pipelines.records import SlideRecord

COLOURS = {"ok": "green", "partial": "yellow", "failed": "red"}


@contextmanager
def slide_progress(total: int, *, as_json: bool) -> Iterator[Callable[[SlideRecord], None]]:
    """Give a function to call with each finished record.

    On a terminal: a bar with slides, tiles per second and the time left, and a line for each
    slide that is not ok. Otherwise one line a slide; with `as_json`, one JSON object a slide.
    """
    if as_json:

        def print_json(record: SlideRecord) -> None:
            sys.stdout.write(json.dumps(record.as_dict()) + "\n")
            sys.stdout.flush()

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

        def print_line(record: SlideRecord) -> None:
            nonlocal done
            done += 1
            sys.stderr.write(f"[{done}/{total}] {describe(record)}\n")
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
        tiles = 0

        def advance(record: SlideRecord) -> None:
            nonlocal tiles
            tiles += record.n_tiles or 0
            elapsed = bar.tasks[0].elapsed or 0
            rate = f"{tiles / elapsed:.0f} tiles/s" if elapsed else ""
            bar.update(task, advance=1, rate=rate)
            if record.verdict != "ok":
                bar.console.print(
                    describe(record), style=COLOURS[record.verdict], markup=False, highlight=False
                )

        yield advance


def describe(record: SlideRecord) -> str:
    """One line about a slide."""
    if record.verdict == "failed":
        return f"{record.slide_id}: failed ({record.reason}): {record.message}"
    score = "" if record.score is None else f", score {record.score:.3f}"
    line = (
        f"{record.slide_id}: {record.verdict}, {record.n_tiles} tiles, {record.prediction}{score}"
    )
    if record.reason:
        line += f" ({record.reason}: {record.message})"
    return line + (f" [{', '.join(record.flags)}]" if record.flags else "")
