"""Slides as pyramids and nothing else: many at a time, each in parts, and none lost."""

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from cluster.executor import Executor, Failure, Outcome, attempt
from cluster.serial import SerialExecutor
from pipelines.conversion.do import do
from pipelines.conversion.lock import lock_partial
from pipelines.conversion.record import CAN_BE_CONTINUED, ConvertRecord, failed_record
from pipelines.conversion.tasks import (
    BeginTask,
    Begun,
    Converted,
    ConvertJob,
    Done,
    FinishTask,
    Masked,
    MaskTask,
    PartTask,
    Task,
)
from wsi.atomic import remove
from wsi.pyramid.options import PyramidOptions
from wsi.ref import SlideRef

HANDED_OUT = 4  # parts of a slide, for each worker, that wait or run


@dataclass(slots=True, kw_only=True)
class _Conversion:
    """A slide on its way: what the driver has to remember of it, whatever the slide's size."""

    job: ConvertJob
    lock: int
    running: int = 1
    begun: Begun | None = None
    tasks: Iterator[Task] = field(default_factory=lambda: iter(()))
    flags: tuple[str, ...] = ()
    invalid: list[tuple[str, int, int]] = field(default_factory=list)
    peak: int = 0
    failure: Failure | None = None
    record: ConvertRecord | None = None


def convert_slide(
    ref: SlideRef,
    path: Path,
    *,
    options: PyramidOptions | None = None,
    overwrite: bool = False,
    resume: bool = False,
    threads: int = 1,
) -> ConvertRecord:
    """Write one slide's OME-Zarr pyramid to `path`, in this process: see `convert_slides`."""
    job = ConvertJob(
        ref=ref,
        path=path,
        options=options or PyramidOptions(),
        overwrite=overwrite,
        resume=resume,
        threads=threads,
    )
    (record,) = convert_slides([job], SerialExecutor())
    return record


def convert_slides(jobs: Iterable[ConvertJob], executor: Executor) -> Iterator[ConvertRecord]:
    """Write slides' pyramids in parallel, the parts of one slide too; yields a record a slide.

    Slides that no model here can use (fluorescence, blank ones) are converted like any other,
    with an empty tissue mask that carries the flag. A pyramid gets its name when it is complete;
    until then it is in ``.partial-<name>`` beside it, which stays when the process is killed or
    the disk is full, so that a job with `resume` goes on from there.
    """
    driver = _Driver(lambda: executor.workers)
    try:
        for outcome in executor.map(do, driver.first_tasks(jobs), follow=driver.follow):
            yield from driver.refused()
            record = driver.finished(outcome.item)
            if record:
                yield record
        yield from driver.refused()
    finally:
        driver.close()


class _Driver:
    """Turns outcomes into further tasks: a slide is begun, written in parts, and finished."""

    def __init__(self, workers: Callable[[], int]) -> None:
        self._workers = workers  # at present: a cluster grows and shrinks
        self._slides: dict[Path, _Conversion] = {}
        self._refused: list[ConvertRecord] = []

    def first_tasks(self, jobs: Iterable[ConvertJob]) -> Iterator[Task]:
        """The beginning of each job that may begin."""
        for job in jobs:
            outcome = attempt(lock_partial, job)
            if outcome.result is None:
                assert outcome.failure is not None
                self._refused.append(failed_record(job, outcome.failure))
                continue
            self._slides[job.path] = _Conversion(job=job, lock=outcome.result)
            yield BeginTask(job=job)

    def refused(self) -> Iterator[ConvertRecord]:
        """Records of jobs that could not begin, each once."""
        while self._refused:
            yield self._refused.pop(0)

    def finished(self, task: Task) -> ConvertRecord | None:
        """The record of a task's slide if it was the last one of it."""
        slide = self._slides[task.job.path]
        if slide.record:
            del self._slides[task.job.path]
        return slide.record

    def close(self) -> None:
        """Let other processes have the slides that are not finished."""
        for slide in self._slides.values():
            if slide.record is None:
                os.close(slide.lock)

    def follow(self, outcome: Outcome[Task, Done]) -> list[Task]:
        """What is to be done after a task."""
        slide = self._slides[outcome.item.job.path]
        slide.running -= 1
        if outcome.result is None:
            slide.failure = slide.failure or outcome.failure
        else:
            slide.peak = max(slide.peak, outcome.result.peak_rss_bytes)
            said = outcome.result.said
            if isinstance(said, Converted):
                self._end(slide, said)
                return []
            if isinstance(said, Begun):
                slide.begun, slide.tasks = said, _tasks(slide.job, said)
                slide.flags = said.flags
                slide.invalid += said.invalid
                if said.finished:
                    self._end(slide, said.finished)
                    return []
            elif isinstance(said, Masked):
                slide.flags = (*said.flags, *slide.flags)
            else:
                slide.invalid += said
        room = HANDED_OUT * self._workers() - slide.running
        tasks = self._next(slide, max(room, 0))
        slide.running += len(tasks)
        if not tasks and slide.running == 0:
            assert slide.failure is not None  # a slide without failure always has a next task
            self._fail(slide, slide.failure)
        return tasks

    def _next(self, slide: _Conversion, room: int) -> list[Task]:
        if slide.failure or slide.begun is None:
            return []
        job, begun = slide.job, slide.begun
        tasks = list(islice(slide.tasks, room))
        if not tasks and slide.running == 0:
            assert begun.plan is not None  # else it is finished
            tasks.append(
                FinishTask(
                    job=job, source=begun.source, plan=begun.plan, invalid=tuple(slide.invalid)
                )
            )
        return tasks

    def _end(self, slide: _Conversion, converted: Converted) -> None:
        os.close(slide.lock)
        begun = slide.begun
        assert begun is not None
        slide.record = ConvertRecord(
            slide_id=slide.job.ref.slide_id,
            path=str(slide.job.path),
            verdict="partial" if converted.invalid_tiles else "ok",
            reason="unreadable_region" if converted.invalid_tiles else "",
            message=f"{converted.invalid_tiles} tiles do not decode; they are black, and False in "
            "the arrays in validity"
            if converted.invalid_tiles
            else "",
            seconds=round(converted.ended - begun.started, 3),
            megapixels=round(begun.megapixels, 3),
            bytes_in=begun.source.size or None,
            bytes_out=converted.bytes_out,
            codec=converted.codec,
            levels=converted.levels,
            invalid_tiles=converted.invalid_tiles,
            peak_rss_bytes=slide.peak,
            reused=begun.finished is not None,
            flags=slide.flags,
        )

    def _fail(self, slide: _Conversion, failure: Failure) -> None:
        if failure.kind not in CAN_BE_CONTINUED:
            remove(slide.job.partial)
        os.close(slide.lock)
        slide.record = failed_record(slide.job, failure)


def _tasks(job: ConvertJob, begun: Begun) -> Iterator[Task]:
    """The mask, which takes longest, and the parts."""
    if begun.tissue_mpp is not None:
        assert begun.plan is not None  # else it is finished
        yield MaskTask(job=job, source=begun.source, plan=begun.plan, level0_mpp=begun.tissue_mpp)
    for part in begun.parts:
        yield PartTask(job=job, source=begun.source, part=part)
