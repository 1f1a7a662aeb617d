"""Tasks in this process, one after the other: for tests and one small slide."""

from collections.abc import Callable, Iterable, Iterator

from cluster.executor import Item, Outcome, Result, attempt


class SerialExecutor:
    """The `Executor` without a cluster."""

    workers = 1

    def map(
        self, task: Callable[[Item], Result], items: Iterable[Item]
    ) -> Iterator[Outcome[Item, Result]]:
        """See `Executor.map`."""
        for item in items:
            yield attempt(task, item)
