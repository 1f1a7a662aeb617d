"""Tasks on Ray: a local one started here, or a cluster somewhere else."""

import heapq
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Any, Generic, Self

import ray

from cluster.connection import connect, start
from cluster.executor import Failure, Item, Outcome, Result, Supply, after, persist
from cluster.limits import Limits, enforced
from cluster.lost import OUT_OF_ROOM, explain, first_line, tell
from cluster.nodes import Nodes
from cluster.resources import Needs, available_cpus, available_memory
from cluster.retries import wait_s
from wsi.malloc import keep_freed_memory

WAITING_PER_WORKER = 2  # tasks handed out beyond those that run: hides the latency of a hand-over
LOOK_S = 3.0  # between looks at what the cluster has
# For the driver to retry.
LOST = frozenset({"worker_lost", "node_lost", "out_of_memory", "object_store_full"})


@dataclass(slots=True, order=True)
class _Try(Generic[Item]):
    """An item on its way, for the first time or again; ordered by when it is due."""

    due_s: float = 0.0
    item: Item = field(kw_only=True, compare=False)
    key: str = field(default="", compare=False)  # where its process leaves why it ended
    lost: Counter[str] = field(default_factory=Counter, compare=False)

    def wait_s(self, failure: Failure | None) -> float | None:
        """Seconds before it is tried again; None if it is not."""
        if failure is None or failure.kind not in LOST:
            return None
        self.lost[failure.kind] += 1
        return wait_s(failure.kind, self.lost[failure.kind])


class RayExecutor:
    """The `Executor` on Ray; a context manager that shuts down the Ray it started."""

    def __init__(
        self,
        *,
        address: str | None = None,
        workers: int | None = None,
        allow: Callable[[Any], Limits] | None = None,
        needs: Callable[[Any], Needs] | None = None,
    ) -> None:
        """Connect to the cluster at `address`, or start a local Ray with `workers` CPUs.

        Parameters
        ----------
        allow
            What the task of an item may take, asked where it runs; None for no limits. What goes
            beyond is a failure of kind ``"out_of_memory"`` or ``"timed_out"``.
        needs
            What is set aside for the task of an item; None for a CPU each.

        Raises
        ------
        ClusterError
            If there is no cluster at `address`, or it does not let us in.
        """
        self._owns = not ray.is_initialized()
        self._cpus = workers or available_cpus()
        if self._owns and address is not None:
            connect(address)
        elif self._owns:
            start(self._cpus)
        self._is_local = self._owns and address is None
        self._allow = allow
        self._needs = needs or (lambda _: Needs())
        self._remote: Any = ray.remote(max_retries=0)(_work)
        self._nodes, self._looked_s = Nodes.of_ray(), time.monotonic()

    @property
    def workers(self) -> int:
        """CPUs of the cluster, as it was at most `LOOK_S` ago: nodes come and go."""
        return self._present().workers

    @property
    def memory_bytes(self) -> int | None:
        """Of the nodes, as Ray knows it; of a Ray that was started here, this machine's."""
        return available_memory() if self._is_local else self._present().memory_bytes or None

    def _present(self) -> Nodes:
        if time.monotonic() - self._looked_s > LOOK_S:
            self._nodes, self._looked_s = Nodes.of_ray(), time.monotonic()
        return self._nodes

    def _start_again(self) -> None:
        """After the death of a Ray that was started here, of which nothing can be had any more."""
        ray.shutdown()
        start(self._cpus)
        self._nodes, self._looked_s = Nodes.of_ray(), time.monotonic()

    def map(
        self,
        task: Callable[[Item], Result],
        items: Iterable[Item],
        *,
        follow: Callable[[Outcome[Item, Result]], Iterable[Item]] | None = None,
    ) -> Iterator[Outcome[Item, Result]]:
        """See `Executor.map`; what a lost worker or node was doing is done again by another one.

        As many tasks are on their way as the cluster has room for at the time. Those that wait
        are what makes one that can grow do so.

        A Ray that was started here and has died is started again. If the caller stops early, what
        runs is interrupted and no more begun.

        Ray itself would retry at once, not tell a slide's fault from a node's, and never give up
        on a task that its memory monitor ended.
        """
        running: dict[Any, _Try[Item]] = {}
        try:
            yield from self._outcomes(task, Supply(items), follow, running)
        finally:
            if ray.is_initialized():  # or its tasks have ended with it
                for done in running:
                    ray.cancel(done)

    def _outcomes(
        self,
        task: Callable[[Item], Result],
        supply: Supply[Item],
        follow: Callable[[Outcome[Item, Result]], Iterable[Item]] | None,
        running: dict[Any, _Try[Item]],
    ) -> Iterator[Outcome[Item, Result]]:
        """As `map`; keeps what is on its way in `running`."""
        later: list[_Try[Item]] = []  # a heap: the next one due first
        while True:
            has_died = self._is_local and not self._present().count
            if has_died:
                self._start_again()
            else:
                room = self.workers + WAITING_PER_WORKER * self.workers
                free = max(room - len(running) - len(later), 0)
                fresh = [_Try(item=item) for item in islice(supply, free)]
                running |= self._begin(task, fresh + _due(later))
                if not running and not later:
                    return
            for tried, outcome in _died(running) if has_died else _ended(running, later):
                seconds = tried.wait_s(outcome.failure)
                if seconds is not None:
                    tried.due_s = time.monotonic() + seconds
                    heapq.heappush(later, tried)
                    continue
                if follow:
                    supply.ahead.extend(follow(outcome))
                yield outcome

    def _begin(
        self, task: Callable[[Item], Any], tries: Iterable[_Try[Item]]
    ) -> dict[Any, _Try[Item]]:
        """Hand tasks to Ray; gives them by the references to their outcomes."""
        nodes, begun = self._nodes, {}
        for tried in tries:
            tried.key = uuid.uuid4().hex
            options = nodes.options(self._needs(tried.item))
            done = self._remote.options(**options).remote(
                task, tried.item, tried.key, self._allow, nodes.workers_a_node
            )
            begun[done] = tried
        return begun

    def close(self) -> None:
        """Shut down Ray if this executor started it."""
        if self._owns:
            ray.shutdown()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _work(
    task: Callable[[Item], Result],
    item: Item,
    key: str,
    allow: Callable[[Item], Limits] | None,
    workers: int,
) -> Outcome[Item, Result]:
    """What runs on a worker: the task within its limits."""
    keep_freed_memory()
    if allow is None:
        return persist(task, item, leave=OUT_OF_ROOM)
    with enforced(allow(item), workers=workers, tell=partial(tell, key)):
        return persist(task, item, leave=OUT_OF_ROOM)


def _due(later: list[_Try[Item]]) -> list[_Try[Item]]:
    """Take out those whose time has come."""
    due = []
    while later and later[0].due_s <= time.monotonic():
        due.append(heapq.heappop(later))
    return due


def _died(running: dict[Any, _Try[Item]]) -> Iterator[tuple[_Try[Item], Outcome[Item, Any]]]:
    """Take out all that ran on a Ray that is no more."""
    tries = list(running.values())
    running.clear()
    for tried in tries:
        message = "the Ray on this machine died and was started again: look at what its log says"
        failure = after(tried.lost.total() + 1, Failure(kind="node_lost", message=message))
        yield tried, Outcome(item=tried.item, failure=failure)


def _ended(
    running: dict[Any, _Try[Item]], later: list[_Try[Item]]
) -> Iterator[tuple[_Try[Item], Outcome[Item, Any]]]:
    """Take out those that have ended; none if the next retry or look at the cluster is due before.

    All of them, because a look at what runs costs the more the more runs: with ten thousand
    workers one look for each task would be all that the driver does.
    """
    timeout = LOOK_S
    if later:
        timeout = min(timeout, max(0.0, later[0].due_s - time.monotonic()))
    if not running:
        time.sleep(timeout)
        return
    tasks = list(running)
    ended, _ = ray.wait(tasks, num_returns=1, timeout=timeout)
    if ended:
        ended, _ = ray.wait(tasks, num_returns=len(tasks), timeout=0)
    for done in ended:
        tried = running.pop(done)
        yield tried, _result(done, tried)


def _result(ended: Any, tried: _Try[Item]) -> Outcome[Item, Any]:
    """What a task that has ended leaves: its outcome, or why there is none."""
    try:
        outcome: Outcome[Item, Any] = ray.get(ended)
    except ray.exceptions.RayTaskError as error:
        # `persist` catches what the task raises: here it or its result did not travel.
        if isinstance(error.cause, OUT_OF_ROOM):
            failure = after(tried.lost.total() + 1, explain(error.cause, tried.key))
        else:
            message = f"{type(error.cause).__name__}: {first_line(error.cause)}"
            failure = Failure(kind="unexpected", message=message, trace=str(error))
    except ray.exceptions.RayError as error:
        failure = after(tried.lost.total() + 1, explain(error, tried.key))
    else:
        return outcome
    return Outcome(item=tried.item, failure=failure)
