"""A slide's tasks, followed by hand: its blocks go before it, and what they took."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from pickle import loads

import pytest

from cluster.executor import Failure, Outcome
from pipelines.blockwise.sealed import BlockTask
from pipelines.blockwise.work import BlockPlan, BlockWork
from pipelines.cohort.manifest import Entry
from pipelines.job import BlockDone, HandedOut, SlideJob
from pipelines.memory import Held
from pipelines.settings.config import RunConfig
from pipelines.tasks import HANDED_OUT, Done, Spread, Task
from wsi.ref import SlideRef

REF = SlideRef(path=Path("s.svs"), slide_id="s")
JOB = SlideJob(entry=Entry(ref=REF), folder=Path("out/s"), config=RunConfig(model=Path("m")))


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbers(BlockWork[int]):
    """Blocks that nobody does."""

    step = "embed"

    def path(self, block: int) -> Path:
        return self.folder / str(block)

    def make(self, block: int) -> None:
        raise NotImplementedError


def looked_at(blocks: int, *, held: int = 0) -> Outcome[Task, Done]:
    """What comes of the first task of a slide with so many blocks."""
    work = Numbers(ref=REF, parameters={}, folder=JOB.folder / ".partial-embed-0")
    plan = BlockPlan(work=work, blocks=tuple(range(blocks)))
    return Outcome(item=JOB, result=HandedOut(plans=(plan.sealed(),), held=Held(rss_bytes=held)))


def done(task: Task, held: int, *, is_bound: bool = False) -> Outcome[Task, Done]:
    return Outcome(
        item=task, result=BlockDone(held=Held(rss_bytes=held, is_bound=is_bound), seconds=0.5)
    )


def failed(task: Task) -> Outcome[Task, Done]:
    return Outcome(item=task, failure=Failure(kind="io_error", message="no answer"))


@pytest.mark.parametrize(
    ("looking", "blocks", "most"),
    [
        (30, (10, 20, 10), Held(rss_bytes=30)),
        (30, (10, 50, 10), Held(rss_bytes=50, is_bound=True)),  # the second block's is a bound
    ],
)
def test_a_slides_last_task_knows_what_those_before_it_took(
    looking: int, blocks: tuple[int, ...], most: Held
) -> None:
    spread = Spread(workers=lambda: 2)
    tasks = spread.follow(looked_at(4, held=looking))
    assert [loads(t.block) for t in tasks if isinstance(t, BlockTask)] == [0, 1, 2, 3]
    assert spread.follow(failed(tasks[3])) == []
    last: list[Task] = []
    for number, (task, held) in enumerate(zip(tasks, blocks, strict=False)):
        assert last == []
        last = spread.follow(done(task, held, is_bound=number == 1))
    (job,) = last
    assert isinstance(job, SlideJob)
    assert job.held == most
    assert job.seconds == {"embed": 1.5}  # of the three blocks that did not fail
    assert not job.hands_out


def test_as_many_blocks_are_handed_out_as_there_are_workers_at_the_time() -> None:
    workers = 2
    spread = Spread(workers=lambda: workers)
    tasks = spread.follow(looked_at(100))
    assert len(tasks) == HANDED_OUT * 2
    assert len(spread.follow(done(tasks[0], 1))) == 1
    workers = 5
    assert len(spread.follow(done(tasks[1], 1))) == HANDED_OUT * (5 - 2) + 1
    workers = 1
    assert spread.follow(done(tasks[2], 1)) == []  # the others are still too many


def shares(sizes: Sequence[int], workers: int) -> list[bool]:
    """Whether each slide of a cohort, the largest first, hands its blocks out."""
    refs = [SlideRef(path=Path(f"{n}.svs"), slide_id=str(n)) for n in range(len(sizes))]
    by_id = {ref.slide_id: size for ref, size in zip(refs, sizes, strict=True)}
    jobs = (replace(JOB, entry=Entry(ref=ref)) for ref in refs)
    return [j.hands_out for j in Spread(workers=lambda: workers, sizes=by_id).first_tasks(jobs)]


def test_one_worker_is_handed_no_blocks() -> None:
    assert shares([9, 1], workers=1) == [False, False]
    assert shares([0, 0], workers=1) == [False, False]


def test_a_slide_is_shared_where_another_worker_would_wait_for_it() -> None:
    assert shares([9], workers=2) == [True]
    assert shares([1] * 10, workers=2) == [False] * 9 + [True]
    assert shares([1] * 10, workers=4) == [False] * 7 + [True] * 3
    assert shares([100] + [1] * 99, workers=2) == [True] + [False] * 98 + [True]
    assert shares([99] + [1] * 99, workers=2) == [False] * 99 + [True]
    assert shares([1] * 10, workers=100) == [True] * 10


def test_a_slide_of_unknown_size_is_taken_for_a_large_one() -> None:
    assert shares([5, 0, 0, 5, 5], workers=2) == [False, True, True, False, True]
