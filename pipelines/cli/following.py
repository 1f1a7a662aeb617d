"""The progress of a training in other processes, from the curves that it writes."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

LOOK_S = 1.0


@contextmanager
def following(path: Path, tell: Callable[[Path], None]) -> Iterator[None]:
    """Call `tell` each time that another process has replaced `path`, and not for what is there."""
    ended = Event()
    known = _written(path)

    def follow() -> None:
        nonlocal known
        is_over = False
        while not is_over:
            is_over = ended.wait(LOOK_S)
            if (written := _written(path)) not in (None, known):
                known = written
                tell(path)

    thread = Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _written(path: Path) -> int | None:
    return path.stat().st_mtime_ns if path.is_file() else None
