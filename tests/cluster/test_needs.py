"""What a task needs is set aside on its node: no more run together than have room there."""

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import ray
from ray import cloudpickle

from cluster.nodes import Nodes
from cluster.ray_executor import RayExecutor
from cluster.resources import Needs

GIB = 1 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A task that says with whom it runs."""

    number: int
    folder: Path
    needs: Needs


@pytest.fixture(scope="module")
def executor() -> Iterator[RayExecutor]:
    """On a Ray of four CPUs, 2 GiB of memory and a GPU that nobody has."""
    cloudpickle.register_pickle_by_value(sys.modules[__name__])  # type: ignore[no-untyped-call]
    ray.init(
        address="local",
        num_cpus=4,
        num_gpus=1,
        _memory=2 * GIB,
        object_store_memory=100 << 20,
        include_dashboard=False,
        log_to_driver=False,
    )
    with RayExecutor(needs=lambda job: job.needs) as executor:
        yield executor
    ray.shutdown()  # type: ignore[no-untyped-call]
    cloudpickle.unregister_pickle_by_value(sys.modules[__name__])  # type: ignore[no-untyped-call]


def run_together(job: Job) -> tuple[int, list[float]]:
    """How many run at the same time, this one included; and the GPUs it was given."""
    mark = job.folder / f"running-{job.number}"
    mark.touch()
    most = 0
    for _ in range(20):
        most = max(most, len(list(job.folder.glob("running-*"))))
        time.sleep(0.02)
    mark.unlink()
    return most, ray.get_gpu_ids()


@pytest.mark.parametrize(
    ("needs", "together", "gpus"),
    [
        (Needs(), 4, 0),
        (Needs(cpus=2), 2, 0),
        (Needs(memory_bytes=GIB), 2, 0),
        (Needs(memory_bytes=GIB + 1), 1, 0),
        (Needs(gpus=0.5), 2, 1),
        (Needs(memory_bytes=50 * GIB, cpus=64, gpus=3), 1, 1),  # all there is, and not never
    ],
)
def test_no_more_run_together_than_have_room(
    executor: RayExecutor, tmp_path: Path, needs: Needs, together: int, gpus: int
) -> None:
    jobs = [Job(number=n, folder=tmp_path, needs=needs) for n in range(6)]
    outcomes = list(executor.map(run_together, jobs))
    assert [outcome.failure for outcome in outcomes] == [None] * 6
    found = [outcome.result for outcome in outcomes if outcome.result]
    assert max(most for most, _ in found) <= together
    assert {len(ids) for _, ids in found} == {gpus}
    if together > 1:
        assert max(most for most, _ in found) > 1  # they do run together


def test_memory_is_that_of_the_nodes_and_not_of_this_machine(executor: RayExecutor) -> None:
    assert executor.memory_bytes == 2 * GIB


def test_where_no_node_has_a_gpu_none_is_asked_for() -> None:
    nodes = Nodes(largest={"CPU": 8.0, "GPU": 0.0, "memory": 4.0 * GIB})
    asked = nodes.options(Needs(gpus=0.25, memory_bytes=GIB))
    assert asked == {"num_cpus": 1.0, "num_gpus": 0.0, "memory": GIB}


def test_more_than_one_gpu_is_whole_ones() -> None:
    nodes = Nodes(largest={"CPU": 8.0, "GPU": 4.0, "memory": 0.0})
    assert nodes.options(Needs(gpus=2.5))["num_gpus"] == 2.0
