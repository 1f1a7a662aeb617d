"""Tasks that end, hang or fill their process, on real Ray."""

import ctypes
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ray import cloudpickle

from cluster.executor import Failure, Outcome
from cluster.limits import Limits
from cluster.ray_executor import RayExecutor
from cluster.retries import TRIES

MIB = 1 << 20
OTHERS = (0, 1, 3, 4, 5)  # items whose tasks do nothing wrong


@pytest.fixture(scope="module", autouse=True)
def by_value() -> Iterator[None]:
    """The processes of Ray cannot import this file, so its functions travel by value."""
    cloudpickle.register_pickle_by_value(sys.modules[__name__])  # type: ignore[no-untyped-call]
    yield
    cloudpickle.unregister_pickle_by_value(sys.modules[__name__])  # type: ignore[no-untyped-call]


def allow(item: Any) -> Limits:
    """Item 2 has three seconds, and every process 400 MiB."""
    return Limits(memory_bytes=400 * MIB, seconds=3.0 if item == 2 else 600.0)


@pytest.fixture(scope="module")
def executor() -> Iterator[RayExecutor]:
    with RayExecutor(workers=2, allow=allow) as started:
        yield started


def count(folder: Path, number: int) -> int:
    """Note a try of an item; how many there were."""
    with (folder / str(number)).open("a") as file:
        file.write("x")
    return (folder / str(number)).stat().st_size


def exit_quietly() -> None:
    os._exit(1)


def segfault() -> None:
    ctypes.string_at(0)


def be_killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def hang() -> None:
    time.sleep(600)


def fill_the_memory() -> None:
    held = []
    while True:
        held.append(b"x" * (64 * MIB))


def failure_of(outcomes: list[Outcome[int, Any]]) -> Failure:
    """The failure of item 2, when all others have their results and each came back once."""
    found = {outcome.item: outcome for outcome in outcomes}
    assert len(found) == len(outcomes)
    failure = found.pop(2).failure
    assert failure is not None
    assert {item: outcome.result for item, outcome in found.items()} == {n: n for n in OTHERS}
    return failure


@pytest.mark.parametrize(
    ("wrong", "kind", "said"),
    [
        (exit_quietly, "worker_lost", "the process that worked on it died"),
        (segfault, "worker_lost", "a defect of a decoder"),
        (be_killed, "worker_lost", "(tried 4 times)"),
        (hang, "timed_out", "not done after 0.05 minutes, the limit: raise 'minutes'"),
        (fill_the_memory, "out_of_memory", "and the limit is 0.39 GiB: raise 'memory_gb'"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_an_item_that_ends_its_process_fails_alone(
    executor: RayExecutor, tmp_path: Path, wrong: Callable[[], None], kind: str, said: str
) -> None:
    def work(number: int) -> int:
        count(tmp_path, number)
        if number == 2:
            wrong()
        return number

    failure = failure_of(list(executor.map(work, range(6))))
    assert failure.kind == kind
    assert said in failure.message
    assert "\n" not in failure.message
    assert (tmp_path / "2").stat().st_size == TRIES.get(kind, 1)
    assert {(tmp_path / str(n)).stat().st_size for n in OTHERS} == {1}


def test_a_worker_lost_by_chance_is_replaced(executor: RayExecutor, tmp_path: Path) -> None:
    def die_twice(number: int) -> int:
        if number == 2 and count(tmp_path, number) < 3:
            be_killed()
        return number

    outcomes = {outcome.item: outcome.result for outcome in executor.map(die_twice, range(6))}
    assert outcomes == {n: n for n in range(6)}


def test_a_limit_is_for_one_task_not_for_its_process(executor: RayExecutor) -> None:
    """Item 2 may take three seconds; those that take longer together are not ended."""

    def take_a_second(number: int) -> int:
        time.sleep(1.0)
        return os.getpid()

    outcomes = list(executor.map(take_a_second, [2, 6, 8, 10, 12, 14, 16, 18]))
    assert all(outcome.failure is None for outcome in outcomes)
    assert len({outcome.result for outcome in outcomes}) <= 4
