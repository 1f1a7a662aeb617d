"""A process's own folder on its machine's disk, where results are made before they are stored.

It lies beside the local copies of slides (`wsi.fetched`) and is held in the same way: the process
that holds it removes it when it ends, and that of a process that was killed is removed by the next
one that begins, or when a slide needs the room.
"""

import atexit
import hashlib
import os
import shutil
import uuid
from contextlib import suppress
from functools import cache
from pathlib import Path

from wsi.fetched import hold_folder, remove_unheld, scratch_folder

MARK = "results-"


def local_folder(url: Path) -> Path:
    """Where this process has what belongs to `url`; the same each time, made by whoever uses it.

    It bears the name that the URL ends with, which some results show.
    """
    key = hashlib.sha256(str(url).encode()).hexdigest()[:16]
    return own_folder() / key / url.name


def own_folder() -> Path:
    """The folder of this process, in which each of its tasks has one of its own."""
    return _workplace(os.getpid())


@cache
def _workplace(pid: int) -> Path:
    """The folder of the process `pid`, which is this one: a fork does not go on with its parent's.

    Held as long as the process lives.
    """
    for left_over in scratch_folder().glob(f"{MARK}*"):
        with suppress(FileNotFoundError):  # another process was faster
            remove_unheld(left_over)
    folder = scratch_folder() / f"{MARK}{uuid.uuid4().hex[:12]}"
    hold_folder(folder)
    atexit.register(_leave, folder, pid)
    return folder


def _leave(folder: Path, pid: int) -> None:
    if os.getpid() == pid:
        shutil.rmtree(folder, ignore_errors=True)
