"""A cluster that grows during a run gets more to do."""

import itertools
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray
from ray import cloudpickle
from ray.cluster_utils import Cluster

from cluster import ray_executor
from cluster.nodes import Nodes
from cluster.ray_executor import WAITING_PER_WORKER, RayExecutor
from cluster.resources import Needs

SIZES = {"object_store_memory": 80 << 20}
BEFORE, ADDED = 1, 4  # CPUs
WAIT_S = 240


@pytest.fixture(autouse=True)
def by_value() -> Iterator[None]:
    """The processes of Ray cannot import this file, so its functions travel by value."""
    cloudpickle.register_pickle_by_value(sys.modules[__name__])  # type: ignore[no-untyped-call]
    yield
    cloudpickle.unregister_pickle_by_value(sys.modules[__name__])  # type: ignore[no-untyped-call]


@pytest.mark.slow
def test_a_node_that_comes_later_gets_as_much_to_do_as_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More run together than the first node ever had on their way."""
    monkeypatch.setattr(ray_executor, "LOOK_S", 0.2)

    def work(number: int) -> tuple[str, int]:
        """Where this runs, and how many run with it at the same time."""
        mark = tmp_path / f"running-{number}"
        mark.touch()
        most, until = 0, time.monotonic() + 0.5
        while time.monotonic() < until:
            most = max(most, len(list(tmp_path.glob("running-*"))))
            time.sleep(0.02)
        os.rename(mark, tmp_path / f"done-{number}")
        return ray.get_runtime_context().get_node_id(), most

    cluster = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": BEFORE, "include_dashboard": False, **SIZES},
    )
    on_its_way = BEFORE * (1 + WAITING_PER_WORKER)
    try:
        with RayExecutor(address=cluster.address) as executor:
            assert executor.workers == BEFORE
            places, together, deadline = set(), 0, time.monotonic() + WAIT_S
            for outcome in executor.map(work, itertools.count()):
                assert outcome.result is not None
                assert time.monotonic() < deadline, f"{together} together, {places}"
                if not places:
                    cluster.add_node(num_cpus=ADDED, **SIZES)
                places.add(outcome.result[0])
                together = max(together, outcome.result[1])
                if together > on_its_way and len(places) == 2:
                    break
            assert executor.workers == BEFORE + ADDED
    finally:
        cluster.shutdown()


def test_a_cluster_without_nodes_is_asked_for_all_that_a_task_needs() -> None:
    """One that starts nodes for what waits would start none for a task that needs nothing."""
    nodes = Nodes(largest={"CPU": 0.0, "GPU": 0.0, "memory": 0.0})
    asked = nodes.options(Needs(gpus=0.25, memory_bytes=1 << 30))
    assert asked == {"num_cpus": 1.0, "num_gpus": 0.25, "memory": 1 << 30}
