"""What a cluster has at present, and what tasks need of it, in the words of Ray's scheduler.

Ray starts a task where as much is free as it needs, so what runs on a node never adds up to more
than it has: that bounds the memory of all tasks together. `cluster.limits` bounds that of one.
"""

import math
from dataclasses import dataclass
from typing import Any, Self

import ray

from cluster.resources import Needs


@dataclass(frozen=True, slots=True, kw_only=True)
class Nodes:
    """The nodes of a cluster that have CPUs, at the moment they were looked at.

    Attributes
    ----------
    largest
        The most that one of them has, by Ray's name for it: CPU, GPU, memory.
    count
        How many they are.
    workers
        CPUs of all together; 1 where there are none yet.
    workers_a_node
        CPUs of one, on average, rounded up.
    memory_bytes
        Of all together, as far as Ray gives it to tasks.
    """

    largest: dict[str, float]
    count: int = 0
    workers: int = 1
    workers_a_node: int = 1
    memory_bytes: int = 0

    @classmethod
    def of_ray(cls) -> Self:
        """Ask the Ray that this process is connected to."""
        nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
        usable = [n["Resources"] for n in nodes if n["Alive"] and n["Resources"].get("CPU")]
        cpus = sum(resources["CPU"] for resources in usable)
        names = ("CPU", "GPU", "memory")
        return cls(
            largest={n: max((r.get(n, 0.0) for r in usable), default=0.0) for n in names},
            count=len(usable),
            workers=max(1, int(cpus)),
            workers_a_node=max(1, math.ceil(cpus / max(1, len(usable)))),
            memory_bytes=int(sum(resources.get("memory", 0.0) for resources in usable)),
        )

    def options(self, needs: Needs) -> dict[str, float]:
        """The options of a Ray task with these needs.

        What no node has would never be scheduled: a task that needs more takes all that the
        largest node has, and runs alone there. Where there is no node with a CPU, because a
        cluster that grows with what waits for it has not grown yet, nothing is cut.
        """
        wanted = {"CPU": needs.cpus, "GPU": needs.gpus, "memory": float(needs.memory_bytes)}
        given = wanted
        if self.largest["CPU"]:
            given = {name: min(size, self.largest[name]) for name, size in wanted.items()}
        # Ray takes whole GPUs only where it is more than one.
        gpus = given["GPU"] if given["GPU"] <= 1 else float(int(given["GPU"]))
        memory = float(int(given["memory"]))
        return {"num_cpus": given["CPU"], "num_gpus": gpus, "memory": memory}
