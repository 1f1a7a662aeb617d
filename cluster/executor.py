"""The contract of an executor: tasks in, one outcome an item out, whatever happens."""

import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from wsi.errors import RayPathError

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why an item has no result.

    Attributes
    ----------
    kind
        Machine-readable: the error's `kind`, ``"unexpected"`` for errors that are a defect of
        ours, ``"worker_lost"`` when the process died.
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
        """How many tasks run at the same time."""

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
        and never reaches the caller. `task` and the items must be picklable.
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


def attempt(task: Callable[[Item], Result], item: Item) -> Outcome[Item, Result]:
    """Run a task behind the per-item boundary, the one place that catches every exception."""
    try:
        return Outcome(item=item, result=task(item))
    except Exception as error:
        if isinstance(error, RayPathError):
            kind, message = error.kind, str(error)
        else:
            kind, message = "unexpected", f"{type(error).__name__}: {error}"
        failure = Failure(kind=kind, message=message, trace=traceback.format_exc())
        return Outcome(item=item, failure=failure)
