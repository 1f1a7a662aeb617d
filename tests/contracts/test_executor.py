"""The contract of an executor, run against every one of them."""

import errno
import os
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import FrozenInstanceError
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from ray import cloudpickle

from cluster.executor import Executor, Outcome
from cluster.ray_executor import RayExecutor
from cluster.resources import available_memory
from cluster.serial import SerialExecutor
from cluster.threads import ThreadExecutor
from wsi.errors import NoTissueError, UnreachableSlideError, UnreadableRegionError
from wsi.ref import SlideRef


@pytest.fixture(scope="module")
def ray_executor() -> Iterator[RayExecutor]:
    # The processes of Ray cannot import this file, so its functions travel by value.
    cloudpickle.register_pickle_by_value(sys.modules[__name__])  # type: ignore[no-untyped-call]
    with RayExecutor(workers=2) as executor:
        yield executor
    cloudpickle.unregister_pickle_by_value(sys.modules[__name__])  # type: ignore[no-untyped-call]


@pytest.fixture(params=["serial", "threads", "ray"])
def executor(request: pytest.FixtureRequest) -> Executor:
    if request.param == "serial":
        return SerialExecutor()
    if request.param == "threads":
        return ThreadExecutor(workers=2)
    started: RayExecutor = request.getfixturevalue("ray_executor")
    return started


class AwkwardError(Exception):
    """An exception that cannot be unpickled: its constructor wants two arguments."""

    def __init__(self, slide: str, problem: str) -> None:
        super().__init__(f"{slide}: {problem}")


def square(number: int) -> int:
    return number**2


def fail_sometimes(number: int) -> int:
    if number == 3:
        raise NoTissueError("slide 3 is empty glass")
    if number == 5:
        raise ZeroDivisionError("five")
    if number == 7:
        raise AwkwardError("seven", "does not travel")
    return number


def spread_out(edge_px: int) -> NDArray[np.float64]:
    return np.full((edge_px, edge_px), float(edge_px))


def test_on_one_machine_the_memory_is_that_of_the_machine(executor: Executor) -> None:
    assert executor.memory_bytes == available_memory()


def name_of(ref: SlideRef) -> str:
    try:
        ref.slide_id = "other"  # type: ignore[misc]
    except FrozenInstanceError:
        return f"{ref.slide_id} at {ref.mpp} from {ref.path.name}"
    return "the reference can be changed"


def by_item(outcomes: Iterator[Outcome[Any, Any]]) -> dict[Any, Outcome[Any, Any]]:
    """The outcomes by their items, each of which must have come back once."""
    listed = list(outcomes)
    found = {outcome.item: outcome for outcome in listed}
    assert len(found) == len(listed)
    return found


def test_every_item_has_one_outcome(executor: Executor) -> None:
    outcomes = by_item(executor.map(square, range(20)))
    assert {item: outcome.result for item, outcome in outcomes.items()} == {
        n: n**2 for n in range(20)
    }
    assert all(outcome.failure is None for outcome in outcomes.values())


def test_nothing_to_do(executor: Executor) -> None:
    assert list(executor.map(square, [])) == []
    assert executor.workers >= 1


def test_an_error_becomes_the_failure_of_its_item_alone(executor: Executor) -> None:
    outcomes = by_item(executor.map(fail_sometimes, range(10)))
    failures = {item: outcome.failure for item, outcome in outcomes.items() if outcome.failure}
    assert {item: (failure.kind, failure.message) for item, failure in failures.items()} == {
        3: ("no_tissue", "slide 3 is empty glass"),
        5: ("unexpected", "ZeroDivisionError: five"),
        7: ("unexpected", "AwkwardError: seven: does not travel"),
    }
    for failure in failures.values():
        assert "in fail_sometimes" in failure.trace
    assert {item for item, o in outcomes.items() if o.result == item} == {0, 1, 2, 4, 6, 8, 9}


def test_items_are_taken_as_there_is_room(executor: Executor) -> None:
    taken = 0

    def endless() -> Iterator[int]:
        nonlocal taken
        while True:
            taken += 1
            yield taken

    outcomes = executor.map(square, endless())
    for finished, _ in zip(range(1, 61), outcomes, strict=False):
        assert taken - finished <= 4 * executor.workers


def test_what_follows_goes_before_what_waits(executor: Executor) -> None:
    """Every item below 8 is followed by its double plus one, and the 300s wait until then."""

    def follow(outcome: Outcome[int, int]) -> list[int]:
        return [2 * outcome.item, 2 * outcome.item + 1] if outcome.item < 8 else []

    outcomes = list(executor.map(square, chain([1], range(300, 400)), follow=follow))
    assert sorted(outcome.item for outcome in outcomes) == [*range(1, 16), *range(300, 400)]
    assert all(outcome.result == outcome.item**2 for outcome in outcomes)
    last_follower = max(i for i, outcome in enumerate(outcomes) if outcome.item < 16)
    assert last_follower < 60


def test_an_error_is_followed_too(executor: Executor) -> None:
    def follow(outcome: Outcome[int, int]) -> list[int]:
        return [20] if outcome.failure else []

    outcomes = by_item(executor.map(fail_sometimes, [3], follow=follow))
    assert outcomes[20].result == 20


def test_what_can_pass_is_tried_again(executor: Executor, tmp_path: Path) -> None:
    """The server of item 1 answers the third time, that of item 2 never."""

    def ask(number: int) -> int:
        tries = tmp_path / str(number)
        tries.write_text(f"{tries.read_text() if tries.exists() else ''}x")
        if number == 1 and tries.read_text() == "xxx":
            return number
        raise (
            OSError(errno.ESTALE, "stale file handle")
            if number == 1
            else UnreachableSlideError("no answer")
        )

    outcomes = by_item(executor.map(ask, [1, 2]))
    assert outcomes[1].result == 1
    failure = outcomes[2].failure
    assert failure is not None
    assert (failure.kind, failure.message) == ("unreachable", "no answer (tried 4 times)")
    assert (tmp_path / "2").read_text() == "xxxx"


def test_what_cannot_pass_is_not_tried_again(executor: Executor, tmp_path: Path) -> None:
    def decode(number: int) -> int:
        tries = tmp_path / str(number)
        tries.write_text(f"{tries.read_text() if tries.exists() else ''}x")
        raise UnreadableRegionError("corrupt") if number else OSError(errno.ENOENT, "no such file")

    outcomes = by_item(executor.map(decode, [0, 1]))
    kinds = {item: outcome.failure.kind for item, outcome in outcomes.items() if outcome.failure}
    assert kinds == {0: "unexpected", 1: "unreadable_region"}
    assert {path.read_text() for path in tmp_path.iterdir()} == {"x"}


def test_an_error_of_the_items_reaches_the_caller(executor: Executor) -> None:
    def torn() -> Iterator[int]:
        yield 1
        raise OSError("the manifest is gone")

    with pytest.raises(OSError, match="the manifest is gone"):
        list(executor.map(square, torn()))


def test_no_task_is_begun_for_a_caller_who_has_stopped(executor: Executor, tmp_path: Path) -> None:
    def begin(number: int) -> None:
        (tmp_path / str(number)).touch()
        time.sleep(2)

    outcomes = executor.map(begin, range(50))
    next(outcomes)
    outcomes.close()  # type: ignore[attr-defined]
    time.sleep(3)  # in which two more a worker would have their turn
    assert len(list(tmp_path.iterdir())) <= 2 * executor.workers


def test_results_may_be_large(executor: Executor) -> None:
    outcomes = by_item(executor.map(spread_out, [1000, 1001, 1002]))
    for edge_px, outcome in outcomes.items():
        assert outcome.result is not None
        assert outcome.result.shape == (edge_px, edge_px)
        assert (outcome.result == edge_px).all()


def test_a_slide_travels_as_its_reference(executor: Executor) -> None:
    refs = [SlideRef(path=Path(f"/a/é {n}.svs"), slide_id=f"s{n}", mpp=0.25) for n in range(3)]
    outcomes = by_item(executor.map(name_of, refs))
    assert [outcomes[ref].result for ref in refs] == [
        f"s{n} at 0.25 from é {n}.svs" for n in range(3)
    ]


def test_threads_work_side_by_side() -> None:
    both = threading.Barrier(2, timeout=30)
    outcomes = list(ThreadExecutor(workers=2).map(lambda _: both.wait(), range(6)))
    assert all(outcome.failure is None for outcome in outcomes)


def test_a_caller_who_stops_ends_the_threads() -> None:
    begun: list[int] = []
    before = threading.active_count()
    outcomes = ThreadExecutor(workers=2).map(begun.append, range(100))
    next(outcomes)
    outcomes.close()  # type: ignore[attr-defined]
    assert len(begun) < 10
    assert threading.active_count() == before


def test_ray_works_in_other_processes(ray_executor: RayExecutor) -> None:
    outcomes = by_item(ray_executor.map(lambda _: os.getpid(), range(4)))
    assert os.getpid() not in {outcome.result for outcome in outcomes.values()}


def test_a_result_that_cannot_travel_is_our_defect(ray_executor: RayExecutor) -> None:
    """No process died, so the failure must not say so."""

    def hold_a_lock(number: int) -> Any:
        return threading.Lock() if number == 1 else number

    outcomes = by_item(ray_executor.map(hold_a_lock, range(3)))
    failure = outcomes.pop(1).failure
    assert failure is not None
    assert failure.kind == "unexpected"
    assert "lock" in failure.message
    assert {outcome.result for outcome in outcomes.values()} == {0, 2}
