"""Runs on a local cluster of several nodes, one of which is ended."""

import random
import time
from pathlib import Path
from typing import Any

from ray.cluster_utils import Cluster

from benchmarks.kills.processes import busy_workers
from benchmarks.kills.trials import POLL_S, Trial, finish, wait_for_work
from benchmarks.kills.workload import Workload

STORE_BYTES = 80 << 20


def nodes_trial(
    workload: Workload, out: Path, expected: dict[str, str], rng: random.Random, *, seconds: float
) -> Trial:
    """End all processes of a node at work, and give the cluster a new one; twice in one run."""
    trial = Trial(what="nodes of a cluster")
    sizes: dict[str, Any] = {"object_store_memory": STORE_BYTES}
    head = {"num_cpus": 0, "include_dashboard": False, **sizes}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    try:
        nodes = [cluster.add_node(num_cpus=1, **sizes) for _ in range(2)]
        process = workload.start(out, "--address", cluster.address)
        wait_for_work(process, out)
        for _ in range(2):
            end = time.monotonic() + rng.uniform(0, seconds / 2)
            while process.poll() is None and time.monotonic() < end:
                time.sleep(POLL_S)
            busy: list[int] = []
            while process.poll() is None and not busy:
                busy = [n for n, node in enumerate(nodes) if busy_workers(raylet(node))]
            if process.poll() is None:
                cluster.remove_node(nodes.pop(rng.choice(busy)), allow_graceful=False)
                trial.kills += 1
                nodes.append(cluster.add_node(num_cpus=1, **sizes))
        finish(process, out)
    finally:
        cluster.shutdown()  # type: ignore[no-untyped-call]
    trial.compare(out, expected)
    return trial


def raylet(node: Any) -> int:
    """The process that starts a node's workers."""
    (info,) = node.all_processes["raylet"]
    return int(info.process.pid)
