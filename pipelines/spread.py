"""The tasks of a cohort: a slide is one, and of a large one the blocks go before it.

Blocks take nearly all of the time, and spread over all workers, so that one large slide keeps a
cluster busy. What a block's task does not get done, the slide's own does.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any, TypeGuard

from cluster.executor import Outcome
from pipelines.blockwise.work import BlockTask
from pipelines.output import GO_ON, explained_output
from pipelines.records import SlideRecord
from pipelines.remote.task import do_block, do_slide
from pipelines.slide import HandedOut, SlideJob
from pipelines.unchanged import run_unchanged
from wsi.ref import SlideRef
from wsi.remote import is_remote

HANDED_OUT = 4  # blocks of a slide, for each worker, that wait or run

Task = SlideJob | BlockTask[Any]
Done = SlideRecord | HandedOut | None


def do(task: Task) -> Done:
    """Do a task, where it runs.

    Raises
    ------
    RayPathError
        If the slide cannot be used, or its results not be written.
    """
    is_stored = is_remote(_results(task))
    if isinstance(task, BlockTask):
        return do_block(task, _do) if is_stored else _do(task)
    return do_slide(task, _do) if is_stored else _do(task)


def _do(task: Task) -> Done:
    """Do a task whose folder is on a disk."""
    with explained_output(_results(task), go_on=GO_ON):
        if isinstance(task, BlockTask):
            task.work.do(task.block)
            return None
        return run_unchanged(task)


def slide_of(task: Task) -> SlideRef:
    """The slide a task is of."""
    return task.work.ref if isinstance(task, BlockTask) else task.entry.ref


def step_of(task: Task) -> str:
    """The key of a task in the resources table."""
    return task.work.step if isinstance(task, BlockTask) else "slide"


def is_verdict(outcome: Outcome[Task, Done]) -> TypeGuard[Outcome[SlideJob, SlideRecord]]:
    """Whether a task was the last of its slide."""
    return isinstance(outcome.item, SlideJob) and not isinstance(outcome.result, HandedOut)


@dataclass(slots=True, kw_only=True)
class _Spreading:
    """A slide whose blocks are on their way."""

    job: SlideJob
    tasks: Iterator[BlockTask[Any]]
    running: int = 0


@dataclass(slots=True, kw_only=True)
class Spread:
    """Names the tasks of jobs: where there are several workers, first a large slide's blocks."""

    workers: int
    _slides: dict[Path, _Spreading] = field(default_factory=dict)

    def first_tasks(self, jobs: Iterable[SlideJob]) -> Iterator[Task]:
        """The beginning of each job."""
        return (replace(job, hands_out=self.workers > 1) for job in jobs)

    def follow(self, outcome: Outcome[Task, Done]) -> list[Task]:
        """What is to be done after a task: see `Executor.map`."""
        if is_verdict(outcome):
            return []
        task = outcome.item
        if isinstance(task, SlideJob):
            assert isinstance(outcome.result, HandedOut)  # else it would have been the verdict
            job = replace(task, hands_out=False)
            slide = _Spreading(job=job, tasks=_block_tasks(outcome.result))
            self._slides[job.folder] = slide
            room = HANDED_OUT * self.workers
        else:
            slide = self._slides[_results(task)]
            slide.running -= 1
            room = 1
        tasks: list[Task] = list(islice(slide.tasks, room))
        slide.running += len(tasks)
        if not tasks and not slide.running:
            return [self._slides.pop(slide.job.folder).job]
        return tasks


def _block_tasks(handed_out: HandedOut) -> Iterator[BlockTask[Any]]:
    for plan in handed_out.plans:
        for block in plan.blocks:
            yield BlockTask(work=plan.work, block=block)


def _results(task: Task) -> Path:
    """The folder of a task's slide, in which the blocks have theirs."""
    return task.work.folder.parent if isinstance(task, BlockTask) else task.folder
