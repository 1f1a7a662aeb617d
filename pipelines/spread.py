"""The tasks of a cohort: a slide is one, but the blocks a network looks at go before it.

They take nearly all of the time, and spread over all workers, so that one large slide keeps a
cluster busy. What a block's task does not get done, the slide's own does.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from cluster.executor import Outcome
from pipelines.nuclei.search import BlockTask, search_block
from pipelines.output import GO_ON, explained_output
from pipelines.records import SlideRecord
from pipelines.segmentation.task import SegmentTask, do_block
from pipelines.slide import BlocksPlan, SlideJob, plan_blocks
from pipelines.unchanged import run_unchanged

HANDED_OUT = 4  # blocks of a slide, for each worker, that wait or run


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanTask:
    """A slide whose blocks are to be named."""

    job: SlideJob


Part = BlockTask | SegmentTask
Task = PlanTask | Part | SlideJob
Done = BlocksPlan | SlideRecord | None


def do(task: Task) -> Done:
    """Do a task, where it runs.

    Raises
    ------
    RayPathError
        If the slide cannot be used, or its results not be written.
    """
    with explained_output(_results(task), go_on=GO_ON):
        return _do(task)


def _do(task: Task) -> Done:
    if isinstance(task, PlanTask):
        return plan_blocks(task.job)
    if isinstance(task, BlockTask):
        search_block(task)
        return None
    if isinstance(task, SegmentTask):
        do_block(task)
        return None
    return run_unchanged(task)


@dataclass(slots=True, kw_only=True)
class _Searched:
    """A slide whose blocks are on their way."""

    job: SlideJob
    blocks: Iterator[Part]
    running: int = 0


@dataclass(slots=True, kw_only=True)
class Spread:
    """Names the tasks of jobs: first their blocks, where there are several workers, then they."""

    workers: int
    _slides: dict[Path, _Searched] = field(default_factory=dict)

    def first_tasks(self, jobs: Iterable[SlideJob]) -> Iterator[Task]:
        """The beginning of each job."""
        for job in jobs:
            has_blocks = job.config.teacher or job.config.segmenter
            yield PlanTask(job=job) if has_blocks and self.workers > 1 else job

    def follow(self, outcome: Outcome[Task, Done]) -> list[Task]:
        """What is to be done after a task: see `Executor.map`."""
        task = outcome.item
        if isinstance(task, SlideJob):
            return []
        if isinstance(task, PlanTask):
            if not isinstance(outcome.result, BlocksPlan):
                return [task.job]  # it fails again, with a verdict
            parts = _parts(outcome.result)
            slide = self._slides[task.job.folder] = _Searched(job=task.job, blocks=parts)
            room = HANDED_OUT * self.workers
        else:
            slide = self._slides[_slide_folder(task)]
            slide.running -= 1
            room = 1
        tasks: list[Task] = list(islice(slide.blocks, room))
        slide.running += len(tasks)
        if not tasks and not slide.running:
            return [slide.job]
        return tasks


def _parts(plan: BlocksPlan) -> Iterator[Part]:
    """The tasks of a slide's blocks."""
    if plan.nuclei:
        for block in plan.nuclei.blocks:
            yield BlockTask(search=plan.nuclei.search, block=block)
    if plan.segmentation:
        for block in plan.segmentation.blocks:
            yield SegmentTask(segmentation=plan.segmentation.segmentation, block=block)


def _results(task: Task) -> Path:
    """The folder of the slide that a task is about."""
    if isinstance(task, PlanTask):
        return task.job.folder
    return task.folder if isinstance(task, SlideJob) else _slide_folder(task)


def _slide_folder(task: Part) -> Path:
    """The folder of the slide that a block belongs to, in which the blocks have theirs."""
    work = task.search if isinstance(task, BlockTask) else task.segmentation
    return work.folder.parent
