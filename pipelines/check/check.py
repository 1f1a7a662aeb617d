"""Checking a cohort before a run: every slide is looked at, a few are tried, nothing is kept."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cluster.executor import Executor
from pipelines.check.estimate import Estimate, Totals, as_json, estimate, write_check
from pipelines.check.largest import KEPT, Largest
from pipelines.check.look import Checked, LookTask, Work, look_at
from pipelines.check.measure import Fixed, MeasureTask, Rates, measure
from pipelines.check.room import problems_of, problems_of_output, unknown_of
from pipelines.cohort.manifest import Entry
from pipelines.networks import read_networks
from pipelines.output import existing_folder
from pipelines.run import load_where_the_work_is_done
from pipelines.runfolder import SLIDES_NAME
from pipelines.settings.config import RunConfig
from pipelines.settings.stride import check_stride
from wsi.errors import SlideError
from wsi.remote import is_remote

ENDED = frozenset({"out_of_memory", "timed_out", "worker_lost"})  # a process, by a slide


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """What a check found: slides that will fail, the rest's estimate, and what stands against it.

    `estimate` is None where no slide is left, or none could be tried. `unknown` is what could
    not be found out.
    """

    failing: int
    estimate: Estimate | None
    problems: tuple[str, ...]
    unknown: tuple[str, ...] = ()


def check_cohort(
    entries: Sequence[Entry],
    out: Path,
    config: RunConfig,
    executor: Executor,
    *,
    memory_bytes: int | None = None,
    report: Callable[[Checked], None] = lambda _: None,
) -> Check:
    """Look at every slide, try pieces of the work on a few, and add up.

    Parameters
    ----------
    out
        The run's folder, or its URL. Only `check.json` is left there.
    memory_bytes
        What the run may use; None for what the machines of `executor` have.
    report
        Called with each slide's result; none is kept here.

    Raises
    ------
    ModelError, UsageError
        If the run could not begin.
    OutputError
        If `check.json` cannot be stored, though the storage had answered before.
    """
    networks = read_networks(config)
    check_stride(config, networks)
    cards = [card for card, _ in networks.models.values()]
    load_where_the_work_is_done(config, executor)
    spec = cards[0].tile.spec if cards else None
    totals, failing = Totals(), 0
    reasons: dict[str, int] = {}
    extremes, largest = _Extremes(), Largest()
    problems = problems_of_output(out)
    # Where it cannot be written nobody need look, and ask a storage in vain for every slide.
    slides = None if problems else out.resolve() / SLIDES_NAME
    tasks = (
        LookTask(entry=entry, config=config, spec=spec, results=_results(entry, slides))
        for entry in entries
    )
    for outcome in executor.map(look_at, tasks):
        ref, work, failure = outcome.item.entry.ref, outcome.result, outcome.failure
        if work is not None:
            totals.add(work)
            extremes.add(outcome.item.entry, work)
            largest.add(outcome.item.entry, work)
        elif failure is not None:
            failing += 1
            reasons[failure.kind] = reasons.get(failure.kind, 0) + 1
        reason, message = (failure.kind, failure.message) if failure else ("", "")
        report(
            Checked(
                slide_id=ref.slide_id,
                path=str(ref.path),
                todo=work,
                reason=reason,
                message=message,
            )
        )
    expected, unknown = None, list[str]()
    if totals.slides and not problems:
        fixed, tried, failed = _try(extremes.entries(), out, config, executor)
        dim = sum(card.encoder.dim for card in cards)
        known = {checked.slide_id for checked in failed}
        beyond = largest.beyond(fixed, tried, dim=dim)
        for checked in (*failed, *(b for b in beyond if b.slide_id not in known)):
            failing += 1
            reasons[checked.reason] = reasons.get(checked.reason, 0) + 1
            problems.append(checked.describe())
        if len(beyond) == KEPT:
            unknown.append(f"what else is too large: of the {KEPT} slides with most tiles all are")
        if tried:
            there = memory_bytes or executor.memory_bytes
            at_once = _at_once(config, executor)
            expected = estimate(totals, fixed, tried, dim=dim, workers=at_once)
            problems += problems_of(expected, out, there, on_cluster=config.address is not None)
            unknown += unknown_of(expected, out, there)
            said = {
                "estimate": as_json(expected),
                "slides": len(entries),
                "workers": executor.workers,
                "failing": reasons,
                "problems": problems,
                "unknown": unknown,
                "todo": as_json(totals),
                "measured": {
                    "made_up_slide": as_json(fixed),
                    "slides": [as_json(rates) for rates in tried],
                },
            }
            write_check(out, said)
    return Check(
        failing=failing, estimate=expected, problems=tuple(problems), unknown=tuple(unknown)
    )


def _results(entry: Entry, slides: Path | None) -> Path | None:
    """Where the run puts a slide's files, below the folder of all."""
    return slides / entry.ref.slide_id if slides else None


class _Extremes:
    """The slides with the least and the most to do, of each kind of pyramid."""

    def __init__(self) -> None:
        self._found: dict[tuple[bool, str], tuple[float, Entry]] = {}

    def add(self, entry: Entry, work: Work) -> None:
        for which, size in (("least", -work.megapixels), ("most", work.megapixels)):
            key = work.is_copied, which
            if key not in self._found or size > self._found[key][0]:
                self._found[key] = size, entry

    def entries(self) -> list[Entry]:
        """Each once."""
        return list({entry.ref.slide_id: entry for _, entry in self._found.values()}.values())


def _at_once(config: RunConfig, executor: Executor) -> int:
    """How many slides are worked on at a time: Ray begins those that it has CPUs and memory for."""
    if config.executor != "ray":
        return executor.workers
    needs = config.resources.slide
    room = executor.workers / needs.cpus
    if needs.memory_gb and executor.memory_bytes:
        room = min(room, executor.memory_bytes / (needs.memory_gb * 2**30))
    return max(1, int(room))


def _try(
    entries: Sequence[Entry], out: Path, config: RunConfig, executor: Executor
) -> tuple[Fixed, list[Rates], list[Checked]]:
    """Measure pieces where, and as many at a time as, the run would do them.

    Last, the slides whose process did not survive it: nor will it in the run.
    """
    near = None if is_remote(out) else existing_folder(out.absolute())
    alone = config.model_copy(update={"executor": "serial", "address": None, "workers": None})
    slides = out.resolve() / SLIDES_NAME
    tasks = [MeasureTask(config=alone, near=near)]
    tasks += [
        MeasureTask(config=alone, near=near, entry=entry, results=_results(entry, slides))
        for entry in entries
    ]
    fixed, tried, failed, why = None, list[Rates](), list[Checked](), ""
    for outcome in executor.map(measure, tasks):
        if isinstance(outcome.result, Fixed):
            fixed = outcome.result
        elif isinstance(outcome.result, Rates):
            tried.append(outcome.result)
        elif outcome.failure is not None:
            why, entry = outcome.failure.message, outcome.item.entry
            if entry is not None and outcome.failure.kind in ENDED:
                failed.append(
                    Checked(
                        slide_id=entry.ref.slide_id,
                        path=str(entry.ref.path),
                        reason=outcome.failure.kind,
                        message=why,
                    )
                )
    if fixed is None or not (tried or failed):
        raise SlideError(f"nothing could be measured, so there is no estimate: {why}")
    return fixed, tried, failed
