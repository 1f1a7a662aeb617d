"""The tasks of a cohort: a slide is one, but the blocks its nuclei are found in go before it.

They take nearly all of the time, and spread over all workers, so that one large slide keeps a
cluster busy. What a block's task does not get done, the slide's own does.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from cluster.executor import Outcome
from pipelines.nuclei.search import BlockTask, search_block
from pipelines.records import SlideRecord
from pipelines.slide import SlideJob, plan_blocks, run_slide
from pipelines.steps.nuclei import NucleiPlan

HANDED_OUT = 4  # blocks of a slide, for each worker, that wait or run


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanTask:
    """A slide whose blocks are to be named."""

    job: SlideJob


Task = PlanTask | BlockTask | SlideJob
Done = NucleiPlan | SlideRecord | None


def do(task: Task) -> Done:
    """Do a task, where it runs."""
    if isinstance(task, PlanTask):
        return plan_blocks(task.job)
    if isinstance(task, BlockTask):
        search_block(task)
        return None
    return run_slide(task)


@dataclass(slots=True, kw_only=True)
class _Searched:
    """A slide whose blocks are on their way."""

    job: SlideJob
    blocks: Iterator[BlockTask]
    running: int = 0


@dataclass(slots=True, kw_only=True)
class Spread:
    """Names the tasks of jobs: first their blocks, where there are several workers, then they."""

    workers: int
    _slides: dict[Path, _Searched] = field(default_factory=dict)

    def first_tasks(self, jobs: Iterable[SlideJob]) -> Iterator[Task]:
        """The beginning of each job."""
        for job in jobs:
            yield PlanTask(job=job) if job.config.teacher and self.workers > 1 else job

    def follow(self, outcome: Outcome[Task, Done]) -> list[Task]:
        """What is to be done after a task: see `Executor.map`."""
        task = outcome.item
        if isinstance(task, SlideJob):
            return []
        if isinstance(task, PlanTask):
            if not isinstance(outcome.result, NucleiPlan):
                return [task.job]  # it fails again, with a verdict
            search = outcome.result.search
            blocks = (BlockTask(search=search, block=block) for block in outcome.result.blocks)
            slide = self._slides[search.folder] = _Searched(job=task.job, blocks=blocks)
            room = HANDED_OUT * self.workers
        else:
            slide = self._slides[task.search.folder]
            slide.running -= 1
            room = 1
        tasks: list[Task] = list(islice(slide.blocks, room))
        slide.running += len(tasks)
        if not tasks and not slide.running:
            return [slide.job]
        return tasks
