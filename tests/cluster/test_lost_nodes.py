"""A machine that goes, in a local cluster of three nodes."""

import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray
from ray import cloudpickle
from ray.cluster_utils import Cluster

from cluster.ray_executor import LOOK_S, RayExecutor

OTHERS = (0, 1, 3, 4, 5)  # items that are done before the machine goes


@pytest.fixture(autouse=True)
def by_value() -> Iterator[None]:
    """The processes of Ray cannot import this file, so its functions travel by value."""
    cloudpickle.register_pickle_by_value(sys.modules[__name__])  # type: ignore[no-untyped-call]
    yield
    cloudpickle.unregister_pickle_by_value(sys.modules[__name__])  # type: ignore[no-untyped-call]


@pytest.mark.slow
def test_a_node_that_goes_takes_no_item_with_it(tmp_path: Path) -> None:
    """The machine that works on item 2 goes when all others are done."""
    sizes = {"object_store_memory": 80 << 20}
    cluster = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False, **sizes}
    )
    where = tmp_path / "node"

    def work(number: int) -> int:
        if number == 2 and not where.exists():
            where.write_text(ray.get_runtime_context().get_node_id())
            time.sleep(600)
        return number

    try:
        added = [cluster.add_node(num_cpus=1, **sizes) for _ in range(2)]
        with RayExecutor(address=cluster.address) as executor:
            sockets = {node["NodeID"]: node["ObjectStoreSocketName"] for node in ray.nodes()}
            outcomes = {}
            for outcome in executor.map(work, (2, *OTHERS)):
                outcomes[outcome.item] = outcome
                if len(outcomes) == len(OTHERS):
                    while not where.exists():
                        time.sleep(0.01)
                    socket = sockets[where.read_text()]
                    lost = next(n for n in added if n.plasma_store_socket_name == socket)
                    cluster.remove_node(lost, allow_graceful=False)
        assert {item: outcome.result for item, outcome in outcomes.items()} == {
            n: n for n in range(6)
        }
    finally:
        cluster.shutdown()


def test_a_local_ray_that_dies_is_started_again(tmp_path: Path) -> None:
    """Item 2 ends the process that Ray itself runs in, as a defect of Ray would."""
    tries = tmp_path / "tries"

    def work(number: int) -> int:
        if number == 2:
            with tries.open("a") as file:
                file.write("x")
            if tries.stat().st_size == 1:
                os.kill(os.getppid(), signal.SIGKILL)
                time.sleep(600)
        return number

    def where_ray_runs(_: int) -> int:
        return os.getppid()

    with RayExecutor(workers=2) as executor:
        outcomes = {outcome.item: outcome for outcome in executor.map(work, range(6))}
        assert {item: outcome.result for item, outcome in outcomes.items()} == {
            n: n for n in range(6)
        }
        assert executor.workers == 2
        (ray_itself,) = executor.map(where_ray_runs, [0])
        os.kill(ray_itself.result or 0, signal.SIGKILL)
        while any(node["Alive"] for node in ray.nodes()):
            time.sleep(0.1)
        time.sleep(LOOK_S)  # so that it is seen before anything is handed out
        assert sorted(o.result or 0 for o in executor.map(abs, range(6))) == [*range(6)]
    assert tries.stat().st_size == 2
