"""What tasks need, in the words of Ray's scheduler.

Ray starts a task where as much is free as it needs, so what runs on a node never adds up to more
than it has: that bounds the memory of all tasks together. `cluster.limits` bounds that of one.
"""

from dataclasses import dataclass
from typing import Any, Self

import ray

from cluster.resources import Needs


@dataclass(frozen=True, slots=True, kw_only=True)
class Nodes:
    """The most that one node of a cluster has, by Ray's name for it: CPU, GPU, memory."""

    largest: dict[str, float]

    @classmethod
    def of_ray(cls) -> Self:
        """Ask the Ray that this process is connected to."""
        nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
        alive = [node["Resources"] for node in nodes if node["Alive"]]
        names = ("CPU", "GPU", "memory")
        return cls(largest={n: max((r.get(n, 0.0) for r in alive), default=0.0) for n in names})

    def options(self, needs: Needs) -> dict[str, float]:
        """The options of a Ray task with these needs.

        What no node has would never be scheduled: a task that needs more takes all that the
        largest node has, and runs alone there.
        """
        wanted = {"CPU": needs.cpus, "GPU": needs.gpus, "memory": float(needs.memory_bytes)}
        given = {name: min(size, self.largest[name]) for name, size in wanted.items()}
        # Ray takes whole GPUs only where it is more than one.
        gpus = given["GPU"] if given["GPU"] <= 1 else float(int(given["GPU"]))
        memory = float(int(given["memory"]))
        return {"num_cpus": given["CPU"], "num_gpus": gpus, "memory": memory}
