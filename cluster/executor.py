"""The contract of an executor: tasks in, one outcome an item out, whatever happens."""

import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Generic, Protocol, TypeVar

from cluster.retries import PASSING_ERRNOS, wait_s
from wsi.errors import RayPathError

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why an item has no result.

    Attributes
    ----------
    kind
        Machine-readable: the error's `kind`, ``"io_error"`` for what disks and networks raise
        and may not raise the next time, ``"unexpected"`` for errors that are a defect of ours.
        Where the task had a process of its own: ``"worker_lost"`` when it died, ``"node_lost"``
        when its machine did, ``"out_of_memory"`` and ``"timed_out"`` when it was ended,
        ``"object_store_full"`` and ``"spill_disk_full"`` when Ray had no room for its result.
    message
        For a person.
    trace
        The traceback where the task ran; empty when its process died.
    """

    kind: str
    message: str
    trace: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome(Generic[Item, Result]):
    """An item with its result, or with the failure that took its place."""

    item: Item
    result: Result | None = None
    failure: Failure | None = None


class Executor(Protocol):
    """Runs one function over many items."""

    @property
    def workers(self) -> int:
        """How many tasks run at the same time, at present."""

    @property
    def memory_bytes(self) -> int | None:
        """Memory of all machines that it works on, at present; None while there is none."""

    def map(
        self,
        task: Callable[[Item], Result],
        items: Iterable[Item],
        *,
        follow: Callable[[Outcome[Item, Result]], Iterable[Item]] | None = None,
    ) -> Iterator[Outcome[Item, Result]]:
        """Yield one outcome an item, in the order of completion.

        `follow` is called with each outcome before it is yielded, and names further items, which
        go before those still in `items`: the parts of a slide once it has been looked at, say.

        Items are taken from the iterable only as there is room for them, so neither a long
        manifest nor its results pile up. An exception in `task` becomes a `Failure` of its item
        and never reaches the caller. A failure that can pass (see `cluster.retries`) is tried
        again first. `task` and the items must be picklable. If the caller stops early, no more
        tasks are begun.
        """


class Supply(Iterator[Item]):
    """Items to be worked on: those in `ahead`, to which more can be added at any time, go first.

    Unlike a generator it can be asked again after it has run out.
    """

    def __init__(self, items: Iterable[Item]) -> None:
        self.ahead: deque[Item] = deque()
        self._items = iter(items)

    def __next__(self) -> Item:
        return self.ahead.popleft() if self.ahead else next(self._items)


def attempt(
    task: Callable[[Item], Result], item: Item, *, leave: tuple[type[Exception], ...] = ()
) -> Outcome[Item, Result]:
    """Run a task behind the per-item boundary, the one place that catches every exception.

    But for those to `leave`, which are for whoever called to explain.
    """
    try:
        return Outcome(item=item, result=task(item))
    except leave:
        raise
    except Exception as error:
        if isinstance(error, RayPathError):
            kind, message = error.kind, str(error)
        elif isinstance(error, OSError) and error.errno in PASSING_ERRNOS:
            kind, message = "io_error", f"{type(error).__name__}: {error}"
        else:
            kind, message = "unexpected", f"{type(error).__name__}: {error}"
        failure = Failure(kind=kind, message=message, trace=traceback.format_exc())
        return Outcome(item=item, failure=failure)


def persist(
    task: Callable[[Item], Result], item: Item, *, leave: tuple[type[Exception], ...] = ()
) -> Outcome[Item, Result]:
    """`attempt`, and again after a while as long as the failure is one that can pass."""
    tries = 1
    while True:
        outcome = attempt(task, item, leave=leave)
        if outcome.failure is None:
            return outcome
        seconds = wait_s(outcome.failure.kind, tries)
        if seconds is None:
            return replace(outcome, failure=after(tries, outcome.failure))
        time.sleep(seconds)
        tries += 1


def after(tries: int, failure: Failure) -> Failure:
    """The failure that is left after so many tries."""
    if tries == 1:
        return failure
    return replace(failure, message=f"{failure.message} (tried {tries} times)")
