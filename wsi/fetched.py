"""Local copies of slides that are one file behind a URL: fetched once a machine, within a limit.

OpenSlide and the JPEG decoder need a file at hand. A run or a conversion reads nearly all of it
anyway, so it is fetched whole, once for all processes of the machine. Copies stay as long as there
is room for the next; one that a process reads is never removed.
"""

import fcntl
import hashlib
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeVar

from wsi.errors import (
    NO_ROOM,
    DiskFullError,
    OutputPermissionError,
    RayPathError,
    SlideNotFoundError,
    SourceChangedError,
    UnreachableSlideError,
)
from wsi.remote import ObjectInfo, file_system, is_gone, is_of_storage, object_info
from wsi.scratch import take_room

FOLDER_VARIABLE = "RAYPATH_SCRATCH"  # where our folder is; in the system's temporary one without it
LIMIT_VARIABLE = "RAYPATH_SCRATCH_GB"  # of all copies; half of what the disk has left without it
FETCHED_SUFFIXES = frozenset({".bif", ".ndpi", ".scn", ".svs", ".svslide", ".tif", ".tiff"})
BLOCK_BYTES = 8 << 20  # asked for in one request
PAUSES_S = (0.5, 2.0)  # between attempts
LOCK_NAME = "lock"
FORBIDDEN = (401, 403)  # answers of a web server
FETCHING = "fetching"  # a copy that is not whole

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalCopy:
    """A copy that stays where it is until it is released, or the process ends."""

    path: Path
    lock: int

    def release(self) -> None:
        """Allow the copy to be removed when room is needed."""
        os.close(self.lock)


def hold_copy(url: Path) -> LocalCopy:
    """The local copy of the file at `url`, fetched if no process here has done so.

    Raises
    ------
    SlideNotFoundError
        If there is no such object.
    UnreachableSlideError
        If its storage does not answer, after the last attempt.
    SourceChangedError
        If the object is replaced while it is fetched.
    DiskFullError
        If it does not fit beside the copies in use.
    OutputPermissionError
        If the folder of the copies is another user's.
    """
    said = _patiently(url, lambda: object_info(url))
    root = scratch_folder()
    key = hashlib.sha256(f"{url} {said.size} {said.version}".encode()).hexdigest()[:20]
    path = root / key / url.name
    while True:
        lock = _lock(path.parent, fcntl.LOCK_SH)
        if path.exists():
            os.utime(path.parent)  # the copies used last are removed last
            return LocalCopy(path=path, lock=lock)
        os.close(lock)
        lock = _lock(path.parent, fcntl.LOCK_EX)
        try:
            if not path.exists():
                _patiently(url, lambda: _fetch(url, said, path))
        finally:
            os.close(lock)


def scratch_folder() -> Path:
    """Where the copies of this user are: a folder of our own, whatever else is in the given one.

    Others may write to the one it is in, and know its name: it is used only if it is ours, and
    nobody else may look into it or put slides there.

    Raises
    ------
    OutputPermissionError
        If something else of that name is there.
    """
    given = os.environ.get(FOLDER_VARIABLE) or tempfile.gettempdir()
    folder = Path(given) / f"raypath-{os.getuid()}"
    with suppress(FileExistsError):  # no folder
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise OutputPermissionError(
            f"{folder} is not a folder of this user, so copies of slides are not safe there: "
            f"remove it, or set {FOLDER_VARIABLE} to another folder"
        )
    if found.st_mode & 0o077:
        with suppress(PermissionError):  # of a disk without permissions, such as exFAT
            folder.chmod(0o700)
    return folder


def _fetch(url: Path, said: ObjectInfo, path: Path) -> None:
    """Fetch an object to `path`, whose room is taken before the first byte arrives."""
    tmp = path.parent / FETCHING
    try:
        with tmp.open("wb") as file:
            _take_room(url, said.size, file, path.parent)
            with file_system(url).open(str(url), "rb", block_size=BLOCK_BYTES) as source:
                shutil.copyfileobj(source, file, BLOCK_BYTES)
            fetched = file.tell()
        if fetched != said.size or object_info(url) != said:
            raise SourceChangedError(
                f"{url} changed while it was fetched ({said.size} bytes announced, {fetched} "
                "fetched): wait until it is stored completely, then try again"
            )
        tmp.replace(path)
    finally:
        tmp.unlink(missing_ok=True)


def _take_room(url: Path, size: int, file: BinaryIO, mine: Path) -> None:
    """Give `file` its `size` bytes of the disk; for that, remove copies that nobody holds.

    The longest unused go first. One process of the machine at a time; it holds the lock of its own
    folder `mine`.
    """
    root = scratch_folder()
    with (root / LOCK_NAME).open("wb") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        copies = {f: _bytes_in(f) for f in root.iterdir() if f.is_dir() and f != mine}
        free = shutil.disk_usage(root).free
        given = os.environ.get(LIMIT_VARIABLE)
        limit = float(given) * 1e9 if given else (free + sum(copies.values())) / 2
        for folder in sorted(copies, key=_last_used):
            if sum(copies.values()) + size <= limit and size <= free:
                break
            if remove_unheld(folder):
                free += copies.pop(folder)
        held = sum(copies.values())
        if held + size > limit or size > free:
            raise DiskFullError(
                f"{url} is {size / 1e9:.2f} GB: beside {held / 1e9:.2f} GB of slides in use it "
                f"exceeds the {limit / 1e9:.2f} GB for copies, or the {free / 1e9:.2f} GB free in "
                f"{root}; set {FOLDER_VARIABLE} to a larger disk, {LIMIT_VARIABLE} to more, or use "
                "fewer --workers"
            )
        take_room(file, size)  # before the next process counts


def hold_folder(folder: Path) -> int:
    """Make `folder` in the scratch folder this process's, until it ends or closes what it gets."""
    return _lock(folder, fcntl.LOCK_EX)


def remove_unheld(folder: Path) -> bool:
    """Remove a folder in the scratch folder unless a process holds it; whether it is gone."""
    with suppress(FileNotFoundError):  # another process is removing it
        lock = os.open(folder / LOCK_NAME, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder)
        except BlockingIOError:
            return False
        finally:
            os.close(lock)
    return True


def _lock(folder: Path, kind: int) -> int:
    """Lock the folder of a copy, which is made anew if it was removed meanwhile."""
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            lock = os.open(folder / LOCK_NAME, os.O_RDWR | os.O_CREAT, 0o600)
        except FileNotFoundError:
            continue
        fcntl.flock(lock, kind)
        try:
            if os.path.samestat(os.fstat(lock), (folder / LOCK_NAME).stat()):
                return lock
        except FileNotFoundError:
            pass  # removed while we waited: begin again
        os.close(lock)


def _last_used(folder: Path) -> int:
    try:
        return folder.stat().st_mtime_ns
    except FileNotFoundError:  # its process removed it meanwhile
        return 0


def _bytes_in(folder: Path) -> int:
    sizes = []
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):  # results come and go
                sizes.append((Path(parent) / name).stat().st_size)
    return sum(sizes)


def _patiently(url: Path, work: Callable[[], Result]) -> Result:
    """Do what asks the storage at `url`, again after a failure that may pass."""
    pauses = list(PAUSES_S)
    while True:
        try:
            return work()
        except RayPathError:
            raise
        except Exception as error:
            if isinstance(error, OSError) and error.errno in NO_ROOM:
                raise DiskFullError(
                    f"{url} does not fit into {scratch_folder()} ({error.strerror}): set "
                    f"{FOLDER_VARIABLE} to a larger disk"
                ) from error
            if not is_of_storage(error):
                raise
            if is_gone(error):
                raise SlideNotFoundError(f"no slide at {url}: check the URL") from error
            status = getattr(error.__cause__, "status", None)
            if not pauses or isinstance(error, PermissionError) or status in FORBIDDEN:
                said = str(error.__cause__ or error) or type(error).__name__
                raise UnreachableSlideError(f"{url}: {said}") from error
        time.sleep(pauses.pop(0))
