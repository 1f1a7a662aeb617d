"""What a report says of all slides together, from one pass over their records."""

import heapq
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from cluster.retries import TRIES
from pipelines.records import SlideRecord

ORDER = ("failed", "partial", "unfinished", "ok")  # what wants attention comes first
CAN_PASS = TRIES.keys() | {"timed_out"}  # reasons that the same command may not meet again


@dataclass(slots=True, kw_only=True)
class StepTimes:
    """Seconds of workers in one step: over all slides, and the slide that took longest."""

    slides: int = 0
    seconds: float = 0.0
    longest: float = 0.0
    longest_id: str = ""


@dataclass(slots=True, kw_only=True)
class Summary:
    """Counts and times of a run; its size does not grow with the slides.

    Attributes
    ----------
    counts
        Slides by verdict.
    may_pass
        Failed slides that may be finished by the same command.
    steps
        Times by step, in the order of the work.
    waited_s, worked_s
        How long models waited for their tiles, and worked on them.
    urgent
        Ids of the slides whose larger pictures are in the page: what wants attention first.
    """

    counts: Counter[str] = field(default_factory=Counter)
    may_pass: int = 0
    steps: dict[str, StepTimes] = field(default_factory=dict)
    waited_s: float = 0.0
    worked_s: float = 0.0
    urgent: frozenset[str] = frozenset()

    @property
    def total(self) -> int:
        """Slides."""
        return self.counts.total()

    @property
    def seconds(self) -> float:
        """Of all steps and slides."""
        return sum(times.seconds for times in self.steps.values())

    @property
    def waited_share(self) -> float | None:
        """Share of the embedding that the model waited for tiles, 0-1; None without any."""
        total = self.waited_s + self.worked_s
        return self.waited_s / total if total else None

    @property
    def verdicts(self) -> list[tuple[str, int]]:
        """Verdicts to choose from, with their slides."""
        always = ("ok", "partial", "failed")
        others = sorted(v for v in self.counts if v not in always)
        return [(verdict, self.counts[verdict]) for verdict in (*always, *others)]


def summarise(records: Iterable[SlideRecord], *, urgent: int) -> Summary:
    """Add up the records, and choose the `urgent` slides that want attention most."""
    summary = Summary()

    def counted() -> Iterator[tuple[int, bool, str]]:
        for record in records:
            _count(summary, record)
            yield _urgency(record)

    summary.urgent = frozenset(key[-1] for key in heapq.nsmallest(urgent, counted()))
    return summary


def _count(summary: Summary, record: SlideRecord) -> None:
    summary.counts[record.verdict] += 1
    summary.may_pass += record.verdict == "failed" and record.reason in CAN_PASS
    summary.waited_s += record.waited_s or 0.0
    summary.worked_s += record.worked_s or 0.0
    for step, seconds in record.seconds.items():
        times = summary.steps.setdefault(step, StepTimes())
        times.slides += 1
        times.seconds += seconds
        if seconds >= times.longest:
            times.longest, times.longest_id = seconds, record.slide_id


def _urgency(record: SlideRecord) -> tuple[int, bool, str]:
    known = record.verdict in ORDER
    rank = ORDER.index(record.verdict) if known else len(ORDER)
    return rank, not record.flags, record.slide_id
