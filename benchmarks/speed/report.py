"""What was measured, as a table on a terminal, in markdown, or for programs."""

import os
import platform
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table as RichTable

from benchmarks.markdown import table_row
from benchmarks.speed.measure import Result
from cluster.resources import available_cpus

LIBRARIES = (
    "raypath",
    "numpy",
    "zarr",
    "pillow",
    "imagecodecs",
    "simplejpeg",
    "openslide-bin",
    "tiffslide",
    "dask",
    "pyvips-binary",
    "wsidicomizer",
    "torch",
    "timm",
    "lazyslide",
)
HEADINGS = (
    *("", "seconds", "range", "runs", "CPU s", "MP/s", "/ {}"),
    *("MB out", "/ source", "peak MiB"),
)
NARROWEST = 120  # characters that a table takes when no terminal says what there is


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Contenders for one job.

    Attributes
    ----------
    baseline, baseline_label
        Name of the result that the others' times are divided by, and a short one.
    megapixels
        What every one of them works through; 0 where there are no pixels.
    source_bytes
        Size of the slide's file, for those that write.
    """

    title: str
    baseline: str
    baseline_label: str
    results: Sequence[Result]
    megapixels: float = 0
    source_bytes: int = 0

    def find(self, name: str) -> Result | None:
        """The result of that name if it was measured."""
        return next((r for r in self.results if r.name == name and r.seconds), None)

    def fastest(self, *, role: str, threads: int | None = None) -> Result | None:
        """The fastest measured result of a role; of those with as many `threads`, if given."""
        candidates = [
            r for r in self.results if r.role == role and r.seconds and threads in (None, r.threads)
        ]
        return min(candidates, key=lambda r: r.median, default=None)

    def cells(self) -> list[tuple[str, ...]]:
        """Heading, and a row of text for everything that was measured."""
        rows = [tuple(text.format(self.baseline_label) for text in HEADINGS)]
        baseline = self.find(self.baseline)
        for result in self.results:
            if not result.seconds:
                continue
            median, times = result.median, result.seconds
            count = f"{result.items} tiles, {result.items / median:.0f}/s" if result.items else ""
            notes = "; ".join(filter(None, (result.note, count)))
            written = result.bytes_out
            rows.append(
                (
                    f"{result.name} ({notes})" if notes else result.name,
                    f"{median:.3f}",
                    f"{min(times):.3f}-{max(times):.3f}",
                    str(len(times)),
                    f"{statistics.median(result.cpu_seconds):.3f}",
                    f"{self.megapixels / median:.0f}" if self.megapixels else "",
                    f"{median / baseline.median:.2f}" if baseline else "",
                    f"{written / 1e6:.1f}" if written else "",
                    f"{written / self.source_bytes:.2f}" if written and self.source_bytes else "",
                    f"{result.peak_bytes / 2**20:.0f}",
                )
            )
        return rows

    def failures(self) -> list[str]:
        """A line for everything that was not measured, with the reason."""
        return [f"{r.name}: {r.failure}" for r in self.results if not r.seconds]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """A wanted ratio and the measured one; None where one side could not be measured."""

    claim: str
    bound: Literal["at least", "at most"]
    wanted: float
    measured: float | None

    @property
    def word(self) -> str:
        """Met, not met, or not measured."""
        if self.measured is None:
            return "not measured"
        enough = self.measured >= self.wanted
        if self.bound == "at most":
            enough = self.measured <= self.wanted
        return "met" if enough else "not met"

    def __str__(self) -> str:
        measured = "" if self.measured is None else f", measured {self.measured:.2f}"
        return f"{self.word}: {self.claim} {self.bound} {self.wanted:g}{measured}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Everything that one call of a benchmark measured."""

    subject: str
    tables: Sequence[Table]
    verdicts: Sequence[Verdict]

    def as_dict(self) -> dict[str, Any]:
        """For JSON; seconds of every run included."""
        return {
            "subject": self.subject,
            "machine": machine(),
            "versions": versions(),
            "tables": [asdict(table) for table in self.tables],
            "verdicts": [asdict(verdict) | {"word": verdict.word} for verdict in self.verdicts],
        }

    def as_markdown(self) -> str:
        """Tables as GitHub shows them."""
        lines = [self.subject, "", machine(), "", _list_versions(), ""]
        for table in self.tables:
            head, *rows = table.cells()
            lines += [
                f"### {table.title}",
                "",
                table_row(head),
                table_row(["---"] + ["--:"] * (len(head) - 1)),
            ]
            lines += [*(table_row(row) for row in rows), ""]
            lines += [*(f"- not measured: {line}" for line in table.failures()), ""]
        return "\n".join(lines + [f"- {verdict}" for verdict in self.verdicts])

    def print(self) -> None:
        """Tables as wide as the terminal, in colour where there is one."""
        console = Console()
        if not console.is_terminal:
            console = Console(width=NARROWEST)
        for line in (self.subject, machine(), _list_versions()):
            console.print(escape(line), highlight=False)
        for table in self.tables:
            head, *rows = table.cells()
            rich = RichTable(title=table.title, title_justify="left", box=box.SIMPLE)
            for number, text in enumerate(head):
                rich.add_column(text, justify="right" if number else "left", no_wrap=number > 0)
            for row in rows:
                rich.add_row(*(escape(text) for text in row))
            console.print(rich)
            for line in table.failures():
                console.print(f"not measured: {escape(line)}", style="yellow", highlight=False)
        colours = {"met": "green", "not met": "red", "not measured": "yellow"}
        for verdict in self.verdicts:
            console.print(str(verdict), style=colours[verdict.word], highlight=False)


def machine() -> str:
    """Processor, how much of it may be used, memory, system and Python."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    named = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{named[0] if named else platform.processor()}, {available_cpus()} CPUs, "
        f"{memory:.0f} GiB, {platform.system()} {platform.release()}, "
        f"Python {platform.python_version()}"
    )


def versions() -> dict[str, str]:
    """Of what is compared and what it stands on, where installed."""
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _list_versions() -> str:
    return ", ".join(f"{name} {number}" for name, number in versions().items())
