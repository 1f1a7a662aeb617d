"""Batches made in a thread of their own while the network works on the last one."""

from collections.abc import Iterator
from contextlib import contextmanager
from queue import Empty, Full, Queue
from threading import Event, Thread
from typing import TypeVar

T = TypeVar("T")
DEPTH = 3  # batches ready at a time
POLL_S = 0.1  # how soon the thread sees that nobody wants more


@contextmanager
def prefetched(batches: Iterator[T], *, depth: int = DEPTH) -> Iterator[Iterator[T]]:
    """Iterate over `batches` in a thread, at most `depth` ahead; it ends with the context.

    What `batches` raises is raised where its next batch was expected.
    """
    ready: Queue[T | BaseException | None] = Queue(depth)
    stopped = Event()

    def put(item: T | BaseException | None) -> None:
        while not stopped.is_set():
            try:
                ready.put(item, timeout=POLL_S)
            except Full:
                continue
            return

    def work() -> None:
        try:
            for batch in batches:
                put(batch)
                if stopped.is_set():
                    return
        except BaseException as error:  # carried to the thread that waits, and raised there
            put(error)
        else:
            put(None)

    def take() -> Iterator[T]:
        while True:
            item = ready.get()
            if item is None:
                return
            if isinstance(item, BaseException):
                raise item
            yield item

    thread = Thread(target=work, name="batches", daemon=True)
    thread.start()
    try:
        yield take()
    finally:
        stopped.set()
        thread.join()
        while True:  # what is left may hold a lot of memory
            try:
                ready.get_nowait()
            except Empty:
                break
