"""Tasks in threads of this process: for those that wait for disks, or decode without the GIL."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import islice

from cluster.executor import Item, Outcome, Result, Supply, persist
from cluster.resources import available_memory

WAITING_PER_WORKER = 1  # tasks handed out beyond those that run, so that no thread waits for us


class ThreadExecutor:
    """The `Executor` without a cluster, `workers` tasks at a time.

    Nothing limits what a task takes: to end it would be to end this process.
    """

    def __init__(self, workers: int) -> None:
        self.workers = workers

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
        """See `Executor.map`. If the caller stops early, what runs is ended and no more begun."""
        room = self.workers + WAITING_PER_WORKER * self.workers
        supply = Supply(items)
        running: set[Future[Outcome[Item, Result]]] = set()
        pool = ThreadPoolExecutor(self.workers)
        try:
            while True:
                for item in islice(supply, room - len(running)):
                    running.add(pool.submit(persist, task, item))
                if not running:
                    return
                done = wait(running, return_when=FIRST_COMPLETED).done.pop()
                running.remove(done)
                outcome = done.result()
                if follow:
                    supply.ahead.extend(follow(outcome))
                yield outcome
        finally:
            pool.shutdown(cancel_futures=True)
