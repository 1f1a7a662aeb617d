"""Tasks on Ray: a local one started here, or a cluster somewhere else."""

import logging
import os
import socket
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from types import TracebackType
from typing import Any, Self

# Nothing is reported to anyone, and the warning about a future default is not the user's concern.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")

import ray

from cluster.errors import ClusterError
from cluster.executor import Failure, Item, Outcome, Result, Supply, attempt
from cluster.resources import available_cpus

WAITING_PER_WORKER = 2  # tasks handed out beyond those that run: hides the latency of a hand-over
CONNECT_S = 5.0
OBJECT_STORE_BYTES = 256 << 20  # results are small records; pixels never pass through
RETRIES_OF_A_LOST_WORKER = 1  # a slide that kills two workers is to blame itself


class RayExecutor:
    """The `Executor` on Ray; a context manager that shuts down the Ray it started."""

    def __init__(self, *, address: str | None = None, workers: int | None = None) -> None:
        """Connect to the cluster at `address`, or start a local Ray with `workers` CPUs.

        Raises
        ------
        ClusterError
            If there is no cluster at `address`, or it does not let us in.
        """
        self._owns = not ray.is_initialized()
        if self._owns and address is not None:
            connect(address)
        elif self._owns:
            ray.init(
                address="local",  # not one that somebody happens to run on this machine
                num_cpus=workers or available_cpus(),
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.ERROR,
                object_store_memory=OBJECT_STORE_BYTES,
            )
        resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
        self.workers = max(1, int(resources.get("CPU", 1)))

    def map(
        self,
        task: Callable[[Item], Result],
        items: Iterable[Item],
        *,
        follow: Callable[[Outcome[Item, Result]], Iterable[Item]] | None = None,
    ) -> Iterator[Outcome[Item, Result]]:
        """See `Executor.map`; a worker that dies becomes a failure of kind ``"worker_lost"``."""
        remote: Any = ray.remote(num_cpus=1, max_retries=RETRIES_OF_A_LOST_WORKER)(attempt)
        room = self.workers + WAITING_PER_WORKER * self.workers
        running: dict[Any, Item] = {}
        supply = Supply(items)
        while True:
            for item in islice(supply, room - len(running)):
                running[remote.remote(task, item)] = item
            if not running:
                return
            outcome = _take(running)
            if follow:
                supply.ahead.extend(follow(outcome))
            yield outcome

    def close(self) -> None:
        """Shut down Ray if this executor started it."""
        if self._owns:
            ray.shutdown()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def connect(address: str) -> None:
    """Join the Ray cluster at `address`: ``host:port``, ``auto`` or ``ray://…``.

    Raises
    ------
    ClusterError
        If nothing answers there, or the cluster refuses us.
    """
    host, _, port = address.rpartition(":")
    if host and port.isdigit() and "/" not in host:
        # Ray itself would go on trying for minutes.
        try:
            socket.create_connection((host, int(port)), timeout=CONNECT_S).close()
        except OSError as error:
            raise ClusterError(
                f"nothing answers at {address} within {CONNECT_S:g} s ({error}): check the "
                "address, or leave --address out to start a local Ray"
            ) from error
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (OSError, RuntimeError, SystemExit) as error:  # Ray exits when its token is refused
        raise ClusterError(
            f"the Ray cluster at {address} cannot be joined ({type(error).__name__}: {error}): "
            "use the address 'ray start' printed, or 'auto' on its own machine"
        ) from error


def _take(running: dict[Any, Item]) -> Outcome[Item, Any]:
    """Wait for the next task to end, and forget it."""
    (done,), _ = ray.wait(list(running), num_returns=1)
    item = running.pop(done)
    try:
        outcome: Outcome[Item, Any] = ray.get(done)
    except ray.exceptions.RayTaskError as error:
        # `attempt` catches what the task raises: here it or its result did not travel.
        message = f"{type(error.cause).__name__}: {_first(error.cause)}"
        return Outcome(
            item=item, failure=Failure(kind="unexpected", message=message, trace=str(error))
        )
    except ray.exceptions.RayError as error:
        message = f"the process that worked on it died ({type(error).__name__}): {_first(error)}"
        return Outcome(item=item, failure=Failure(kind="worker_lost", message=message))
    return outcome


def _first(error: BaseException) -> str:
    """The first line of Ray's explanation, which can be a page long."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else "no reason given"
