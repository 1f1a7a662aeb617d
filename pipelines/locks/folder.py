"""One run at a time in a folder: who holds it says so in a file, and shows that it is alive.

`lock.json` names the process. On the same machine its number and start tell whether it lives; of
another machine only its heartbeat does, a number in the file that grows. Who waits for that number
counts the seconds with a clock of its own, so neither clocks that differ nor one that is set back
matter. Creating the file exclusively, and replacing it, is all that is asked of the file system,
which NFS can do; `flock` it often cannot. Object stores can do it too, see `pipelines.locks.file`.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from cluster.retries import PASSING_ERRNOS
from pipelines.errors import UsageError
from pipelines.locks.file import LockFile, lock_file
from pipelines.locks.holder import Holder, said_in, written
from pipelines.output import GO_ON, explained_output
from pipelines.processes import is_alive, process_space
from wsi.atomic import sweep
from wsi.remote import is_remote

LOCK_NAME = "lock.json"
BEAT_S = 10.0
SILENT_S = 60.0  # no beat for so long, and nobody holds it: NFS may show a change this late
LOOK_S = 2.0


class HeldError(UsageError):
    """Another run works in the folder."""

    kind = "held"


class LockLostError(UsageError):
    """Another run took the folder over while this one gave no sign of life."""

    kind = "lock_lost"


@dataclass(slots=True, kw_only=True)
class Lock:
    """A folder that is held by this process."""

    holder: Holder
    _file: LockFile
    _beat: int = 0
    _ended: threading.Event = field(default_factory=threading.Event)

    @property
    def path(self) -> Path:
        """The lock's own."""
        return self._file.path

    def check(self) -> None:
        """Make sure that the folder is still ours; of one at a URL, as of the last beat.

        Raises
        ------
        LockLostError
            If another process has taken it over, also where that one has given it up since.
        """
        try:
            text = self._file.glance()
        except OSError as error:
            if error.errno in PASSING_ERRNOS:
                return  # not seen this time; the next look will tell
            raise
        if text is None and not self._ended.is_set():  # we did not remove it
            raise LockLostError(
                f"{self.path} is gone: another process took {self.path.parent} over because this "
                f"one gave no sign of life for {SILENT_S:g} s (was it suspended?), and ended, or "
                "somebody removed it: give the same command again, which keeps what is finished"
            )
        found = said_in(text)
        if found is not None and found[0].token != self.holder.token:
            raise LockLostError(
                f"{self.path.parent} was taken over by {found[0]} because this process gave "
                f"no sign of life for {SILENT_S:g} s (was it suspended?): let that one finish"
            )

    def beat(self) -> None:
        """Show that this process lives."""
        self._beat += 1
        self._file.rewrite(written(self.holder, self._beat))

    def _beat_until_ended(self) -> None:
        while not self._ended.wait(BEAT_S):
            try:
                self.beat()
            except OSError:
                # A missed beat: the next may come through, and `check` tells if it came too late.
                continue

    def release(self) -> None:
        """Give the folder up, unless another process has it."""
        found = said_in(self._file.read())
        if found is not None and found[0].token == self.holder.token:
            self._file.remove()
        self._file.close()


@contextmanager
def held(folder: Path, *, say: Callable[[str], None] = lambda _: None) -> Iterator[Lock]:
    """Hold `folder`, which exists, and remove what a killed process left half-written in it.

    `say` is called with a line when it has to be waited whether another machine's process lives.

    Raises
    ------
    HeldError
        If another process holds it.
    DiskFullError, OutputPermissionError
        If nothing can be written there.
    """
    path = folder / LOCK_NAME
    with explained_output(path, go_on=GO_ON):
        lock = _take(path, Holder.me(), say)
    is_on_disk = not is_remote(folder)  # objects are whole, and there at once
    heart = threading.Thread(target=lock._beat_until_ended, daemon=True)
    heart.start()
    try:
        if is_on_disk:
            sweep(folder)
        yield lock
    finally:
        lock._ended.set()
        heart.join()
        lock.release()


def refuse_held(folder: Path, *, say: Callable[[str], None] = lambda _: None) -> None:
    """Make sure that no run works in `folder`, without holding it: it may be read-only.

    Raises
    ------
    HeldError
        If one does.
    """
    file = lock_file(folder / LOCK_NAME)
    if file.read() is not None:
        _refuse_alive(file, say)


def _take(path: Path, holder: Holder, say: Callable[[str], None]) -> Lock:
    file = lock_file(path)
    if file.create(written(holder, 0)):
        return Lock(holder=holder, _file=file)
    return _take_over(file, holder, say)


def _take_over(file: LockFile, holder: Holder, say: Callable[[str], None]) -> Lock:
    """Take a lock whose holder is gone.

    Of several that find it so at the same time one may: it holds a lock on being the successor
    while it looks once more and replaces the file.
    """
    before = _refuse_alive(file, say)
    path = file.path
    claim = path.with_name(f"{path.name}.{before.token if before else 'unknown'}")
    with _claimed(_take(claim, holder, say)) as lock:
        text = file.read()
        now = said_in(text)
        if now is not None and (before is None or now[0].token != before.token):
            raise _held(path, now[0])
        if text is not None:
            lock._file.take_place_of(path)  # whole at every moment
            return lock
    lock.release()
    return _take(path, holder, say)


@contextmanager
def _claimed(lock: Lock) -> Iterator[Lock]:
    try:
        yield lock
    except BaseException:
        lock.release()
        raise


def _refuse_alive(file: LockFile, say: Callable[[str], None]) -> Holder | None:
    """Who held the lock and does not live any more; None where the file does not say who.

    Raises
    ------
    HeldError
        If the holder lives.
    """
    path, found = file.path, said_in(file.read())
    if found is not None and found[0].space == process_space():
        if is_alive(found[0].pid, found[0].start):
            raise _held(path, found[0])
        return found[0]
    say(
        f"{path} names {found[0] if found else 'nobody'}: waiting at most {SILENT_S:g} s "
        "for a sign of life"
    )
    waited_until = time.monotonic() + SILENT_S
    while time.monotonic() < waited_until:
        time.sleep(LOOK_S)
        text = file.read()
        now = said_in(text)
        if now is not None and now != found:
            raise _held(path, now[0])
        if text is None:
            break
    return found[0] if found else None


def _held(path: Path, holder: Holder) -> HeldError:
    return HeldError(
        f"{path.parent} is held by {holder}, since {holder.since}: wait for it, end it, or "
        f"choose another folder with --out; if you are sure that it is gone, remove {path}"
    )
