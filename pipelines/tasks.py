"""The tasks of a cohort: a slide is one, and of a large one the blocks go before it.

Blocks take nearly all of the time, and spread over all workers, so that one large slide keeps a
cluster busy. What a block's task does not get done, the slide's own does. To open a slide for each
of its blocks has its price: as long as there are slides enough for everybody, they stay whole.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from pathlib import Path
from typing import TypeGuard

from cluster.executor import Outcome
from pipelines.blockwise.sealed import BlockTask
from pipelines.job import BlockDone, HandedOut, SlideJob
from pipelines.memory import NOTHING, Held, measured_peak
from pipelines.output import GO_ON, explained_output
from pipelines.records import SlideRecord
from pipelines.remote.task import do_block, do_slide
from pipelines.settings.config import RunConfig
from wsi.ref import SlideRef
from wsi.remote import is_remote

HANDED_OUT = 4  # blocks of a slide, for each worker, that wait or run

Task = SlideJob | BlockTask
Done = SlideRecord | HandedOut | BlockDone


def do(task: Task) -> Done:
    """Do a task, where it runs; a block's result is stored, and only what it took comes back.

    Raises
    ------
    RayPathError
        If the slide cannot be used, or its results not be written.
    """
    is_stored = is_remote(task.folder)
    if isinstance(task, BlockTask):
        return (do_block(task, _do) or BlockDone(is_new=False)) if is_stored else _do(task)
    return do_slide(task, _do) if is_stored else _do(task)


def _do(task: Task) -> Done:
    """Do a task whose folder is on a disk."""
    with measured_peak() as peak, explained_output(task.folder, go_on=GO_ON):
        if isinstance(task, BlockTask):
            started = time.perf_counter()
            work, block = task.opened()
            is_new = work.do(block)
            return BlockDone(
                held=peak(),
                seconds=time.perf_counter() - started,
                is_new=is_new,
                tiles=work.tiles(block) if is_new else 0,
            )
        # Here, because the driver, which does nothing, would load what does the work.
        from pipelines.unchanged import run_unchanged

        done = run_unchanged(task)
        if isinstance(done, HandedOut):
            return replace(done, held=peak())
        held = task.held | peak()
        seconds = {k: round(s + task.seconds.get(k, 0.0), 3) for k, s in done.seconds.items()}
        return replace(
            done, peak_rss_bytes=held.rss_bytes, peak_is_bound=held.is_bound, seconds=seconds
        )


def slide_of(task: Task | RunConfig) -> SlideRef | None:
    """The slide a task is of; none where a run's networks are loaded, see `load_networks`."""
    return None if isinstance(task, RunConfig) else task.ref


def step_of(task: Task | RunConfig) -> str:
    """The key of a task in the resources table."""
    return task.step if isinstance(task, BlockTask) else "slide"


def is_verdict(outcome: Outcome[Task, Done]) -> TypeGuard[Outcome[SlideJob, SlideRecord]]:
    """Whether a task was the last of its slide."""
    return isinstance(outcome.item, SlideJob) and not isinstance(outcome.result, HandedOut)


@dataclass(slots=True, kw_only=True)
class _Spreading:
    """A slide whose blocks are on their way."""

    job: SlideJob
    tasks: Iterator[BlockTask]
    running: int = 0
    held: Held = NOTHING
    seconds: dict[str, float] = field(default_factory=dict)  # of its blocks, by step


@dataclass(slots=True, kw_only=True)
class Spread:
    """Names the tasks of jobs: where there are several workers, first a large slide's blocks.

    Attributes
    ----------
    workers
        Tells how many there are at present: a cluster grows and shrinks.
    sizes
        Bytes of each job's slide, by its id, as far as they are all to be done; of any other it
        is not known how much there is to do, and it may be much.
    """

    workers: Callable[[], int]
    sizes: Mapping[str, int] = field(default_factory=dict)
    _slides: dict[Path, _Spreading] = field(default_factory=dict)

    def first_tasks(self, jobs: Iterable[SlideJob]) -> Iterator[Task]:
        """The beginning of each job, the largest of which should come first."""
        left = sum(self.sizes.values())
        for job in jobs:
            size, workers = self.sizes.get(job.entry.ref.slide_id, 0), self.workers()
            is_large = not size or size * workers > left  # more than a worker's share
            yield replace(job, hands_out=workers > 1 and is_large)
            left -= size

    def follow(self, outcome: Outcome[Task, Done]) -> list[Task]:
        """What is to be done after a task: see `Executor.map`."""
        if is_verdict(outcome):
            return []
        task = outcome.item
        if isinstance(task, SlideJob):
            assert isinstance(outcome.result, HandedOut)  # else it would have been the verdict
            handed_out = outcome.result
            job = replace(task, hands_out=False, source=handed_out.source)
            tasks = chain.from_iterable(plan.tasks() for plan in handed_out.plans)
            slide = _Spreading(job=job, tasks=tasks, held=handed_out.held)
            self._slides[job.folder] = slide
        else:
            slide = self._slides[task.folder]
            slide.running -= 1
            if isinstance(outcome.result, BlockDone):  # else the block's task failed
                slide.held |= outcome.result.held
                before = slide.seconds.get(task.step, 0.0)
                slide.seconds[task.step] = before + outcome.result.seconds
        room = HANDED_OUT * self.workers() - slide.running
        blocks: list[Task] = list(islice(slide.tasks, max(room, 0)))
        slide.running += len(blocks)
        if not blocks and not slide.running:
            del self._slides[slide.job.folder]
            return [replace(slide.job, held=slide.held, seconds=slide.seconds)]
        return blocks
