"""Tasks in this process, one after the other: for tests and one small slide."""

from collections.abc import Callable, Iterable, Iterator

from cluster.executor import Item, Outcome, Result, Supply, persist
from cluster.resources import available_memory


class SerialExecutor:
    """The `Executor` without a cluster.

    Nothing limits what a task takes: to end it would be to end this process.
    """

    workers = 1

    @property
    def memory_bytes(self) -> int:
        """What this process may use."""
        return available_memory()

    def map(
        self,
        task: Callable[[Item], Result],
        items: Iterable[Item],
        *,
        follow: Callable[[Outcome[Item, Result]], Iterable[Item]] | None = None,
    ) -> Iterator[Outcome[Item, Result]]:
        """See `Executor.map`."""
        supply = Supply(items)
        for item in supply:
            outcome = persist(task, item)
            if follow:
                supply.ahead.extend(follow(outcome))
            yield outcome
