"""Ray's object store without room, on real Ray: a verdict that says what to do; the rest goes on.

This Ray believes its disk to be full from the first byte on, and so spills nothing.
"""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import ray
from ray import cloudpickle
from ray.exceptions import ObjectStoreFullError

from cluster.executor import Failure, Outcome
from cluster.ray_executor import RayExecutor
from cluster.retries import TRIES

STORE_BYTES = 80 << 20
TOO_MUCH = 3 * STORE_BYTES


@pytest.fixture(scope="module")
def executor() -> Iterator[RayExecutor]:
    """On a Ray whose object store holds 80 MiB, and whose disk takes no more."""
    cloudpickle.register_pickle_by_value(sys.modules[__name__])  # type: ignore[no-untyped-call]
    ray.init(
        address="local",
        num_cpus=2,
        object_store_memory=STORE_BYTES,
        include_dashboard=False,
        log_to_driver=False,
        _system_config={"local_fs_capacity_threshold": 0.0001, "object_store_full_delay_ms": 100},
    )
    with RayExecutor() as executor:
        yield executor
    ray.shutdown()  # type: ignore[no-untyped-call]
    cloudpickle.unregister_pickle_by_value(sys.modules[__name__])  # type: ignore[no-untyped-call]


def failure_of(outcomes: list[Outcome[int, int]]) -> Failure:
    """The failure of item 1, when the others have their results."""
    found = {outcome.item: outcome for outcome in outcomes}
    failure = found.pop(1).failure
    assert failure is not None
    assert {item: outcome.failure for item, outcome in found.items()} == {0: None, 2: None, 3: None}
    assert "\n" not in failure.message
    return failure


def count(folder: Path, number: int) -> None:
    with (folder / str(number)).open("a") as file:
        file.write("x")


@pytest.mark.parametrize("stores", ["itself", "its result"])
def test_no_room_for_what_a_task_hands_on_is_its_failure_alone(
    executor: RayExecutor, tmp_path: Path, stores: str
) -> None:
    def work(number: int) -> object:
        count(tmp_path, number)
        large = np.ones(TOO_MUCH if number == 1 else 1, np.uint8)
        if stores == "its result":
            return large
        ray.put(large)
        return number

    failure = failure_of(list(executor.map(work, range(4))))
    assert failure.kind == "spill_disk_full"
    assert "--temp-dir" in failure.message
    assert (tmp_path / "1").stat().st_size == TRIES.get("spill_disk_full", 1) == 1


def test_a_full_object_store_is_tried_again_and_then_named(
    executor: RayExecutor, tmp_path: Path
) -> None:
    def work(number: int) -> int:
        count(tmp_path, number)
        if number == 1:
            raise ObjectStoreFullError(f"Failed to put {os.getpid()} of size {TOO_MUCH}.")
        return number

    failure = failure_of(list(executor.map(work, range(4))))
    assert failure.kind == "object_store_full"
    assert "--object-store-memory" in failure.message
    assert failure.message.endswith("(tried 4 times)")
    assert (tmp_path / "1").stat().st_size == TRIES["object_store_full"] == 4


def test_a_store_that_has_room_again_costs_no_item(executor: RayExecutor, tmp_path: Path) -> None:
    def work(number: int) -> int:
        count(tmp_path, number)
        if number == 1 and (tmp_path / "1").stat().st_size < 3:
            raise ObjectStoreFullError("Failed to put it.")
        return number

    outcomes = {outcome.item: outcome.result for outcome in executor.map(work, range(4))}
    assert outcomes == {n: n for n in range(4)}
