"""Objects below a URL, asked for one by one: what a run's results are stored as.

fsspec does the asking, as for slides. Names are taken as they are: its calls for many files at
once take ``*`` and ``?`` in a slide's id for patterns.
"""

import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from cluster.retries import wait_s
from pipelines.output import NOT_ALLOWED
from wsi.errors import (
    NO_ROOM,
    DiskFullError,
    OutputPermissionError,
    RayPathError,
    UnreachableOutputError,
)
from wsi.remote import ObjectInfo, file_system, is_of_storage, object_version

AT_ONCE = 8  # files on their way from a process
PART_BYTES = 8 << 20  # of a large object: a process holds at most 2 * PART_BYTES a file
NO_CREDENTIALS = ("NoCredentialsError", "PartialCredentialsError", "NoAuthTokenError")
FULL = ("StorageFull", "QuotaExceeded", "InsufficientStorage", "EntityTooLarge")  # codes of servers

Result = TypeVar("Result")


def list_objects(url: Path) -> dict[str, ObjectInfo]:
    """Size and version of every object below `url`, by name below it.

    Raises
    ------
    OutputError
        If the storage does not answer, or does not let us.
    """
    files, root = file_system(url), _key(url)

    def ask() -> dict[str, Any]:
        files.invalidate_cache()
        return dict(files.find(root, detail=True))

    found = patiently(url, ask)
    return {
        name.removeprefix(f"{root}/"): ObjectInfo(
            size=int(said["size"]), version=object_version(said)
        )
        for name, said in found.items()
    }


def list_folders(url: Path) -> list[str]:
    """The names directly below `url` that have objects below them; raises as `list_objects`."""

    def ask() -> list[str]:
        files = file_system(url)
        files.invalidate_cache()
        try:
            found = files.ls(_key(url), detail=True)
        except FileNotFoundError as error:
            if _is_bucket(error):
                raise
            return []
        return [each["name"].rpartition("/")[2] for each in found if each["type"] == "directory"]

    return patiently(url, ask)


def check_store(url: Path) -> None:
    """Make sure at once that objects can be stored, read and removed below `url`.

    Raises
    ------
    OutputError
        If they cannot.
    """
    name = f".probe-{uuid.uuid4().hex[:8]}"
    with explained_store(url):
        files, key = file_system(url), f"{_key(url)}/{name}"
        files.pipe_file(key, b"raypath")
        files.cat_file(key)
        files.rm_file(key)


def read_object(url: Path) -> bytes | None:
    """The bytes of an object, None where there is none; raises as `list_objects`."""

    def ask() -> bytes | None:
        try:
            return bytes(file_system(url).cat_file(_key(url)))
        except FileNotFoundError as error:
            if _is_bucket(error):
                raise
            return None

    return patiently(url, ask)


def has_object(url: Path) -> bool:
    """Whether there is an object; raises as `list_objects`."""

    def ask() -> bool:
        try:
            files = file_system(url)
            files.invalidate_cache()
            files.info(_key(url))
        except FileNotFoundError as error:
            if _is_bucket(error):
                raise
            return False
        return True

    return patiently(url, ask)


def write_object(url: Path, content: bytes) -> None:
    """Store an object, whole or not at all; raises as `list_objects`."""
    patiently(url, lambda: file_system(url).pipe_file(_key(url), content))


def create_object(url: Path, content: bytes) -> bool:
    """Store an object unless there is one (``If-None-Match``); whether it was stored.

    Asked once: of a second try nobody could tell whether the first was what it found.

    Raises
    ------
    OutputError
        If the storage does not answer, or does not let us.
    """
    with explained_store(url):
        try:
            file_system(url).pipe_file(_key(url), content, mode="create")
        except FileExistsError:
            return False
    return True


def remove_objects(url: Path, names: Iterable[str]) -> None:
    """Remove objects below `url`, if they are there; raises as `list_objects`."""
    files = file_system(url)  # each thread that asked would get one of its own, and keep it

    def remove(name: str) -> None:
        try:
            files.rm_file(f"{_key(url)}/{name}")
        except FileNotFoundError as error:
            if _is_bucket(error):
                raise

    _each(names, lambda name: patiently(url, lambda: remove(name)))


def fetch_objects(url: Path, names: Iterable[str], folder: Path) -> None:
    """Fetch objects below `url` to the same names in `folder`.

    Raises
    ------
    FileNotFoundError
        If there is no such object.
    OutputError
        If the storage does not answer or does not let us, or there is no room.
    """
    files = file_system(url)

    def fetch(name: str) -> None:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        source = f"{_key(url)}/{name}"
        patiently(url, lambda: files.get_file(source, str(path)))

    _each(names, fetch)


def store_files(folder: Path, names: Iterable[str], url: Path) -> None:
    """Store files in `folder` as objects of the same names below `url`; as `list_objects`."""
    files = file_system(url)

    def store(name: str) -> None:
        target, parts = f"{_key(url)}/{name}", {"chunksize": PART_BYTES}
        patiently(url, lambda: files.put_file(str(folder / name), target, **parts))

    _each(names, store)


def patiently(url: Path, ask: Callable[[], Result]) -> Result:
    """Ask a storage, again after a while where it did not answer, see `cluster.retries`."""
    tries = 1
    while True:
        try:
            with explained_store(url):
                return ask()
        except UnreachableOutputError as error:
            seconds = wait_s("unreachable", tries)
            if seconds is None:
                message = f"{error} (tried {tries} times)"
                raise UnreachableOutputError(message) from error.__cause__
        time.sleep(seconds)
        tries += 1


@contextmanager
def explained_store(url: Path) -> Iterator[None]:
    """Turn what a file system raises into errors that say what to do.

    Raises
    ------
    OutputPermissionError
        If credentials are missing, or not allowed to do it; or there is no such bucket.
    DiskFullError
        If the storage has no more room.
    UnreachableOutputError
        For anything else of the storage or on the way to it, which may pass. A defect of ours is
        raised as it is, see `is_of_storage`.
    """
    try:
        yield
    except (RayPathError, FileExistsError):
        raise
    except Exception as error:
        if not is_of_storage(error):
            raise
        cause = error.__cause__ or error
        said = f"{type(cause).__name__}: {cause}"
        if isinstance(error, FileNotFoundError):
            if not _is_bucket(error):
                raise
            raise OutputPermissionError(f"{url}: there is no such bucket: make it first") from error
        if isinstance(error, PermissionError) or type(error).__name__ in NO_CREDENTIALS:
            raise OutputPermissionError(
                f"{url}: reading and writing is not allowed ({said}): give credentials in the "
                "environment (AWS_PROFILE, or AWS_ACCESS_KEY_ID …), on every machine with workers, "
                "or choose another folder with --out"
            ) from error
        if any(code in said for code in FULL):
            raise DiskFullError(f"{url}: the storage has no more room ({said})") from error
        if isinstance(error, OSError) and error.errno in NO_ROOM | NOT_ALLOWED:
            raise  # of the local disk
        raise UnreachableOutputError(f"{url} does not answer: {said}") from error


def _each(names: Iterable[str], do: Callable[[str], None]) -> None:
    """Do something for each name, several at once."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for _ in pool.map(do, names):
            pass


def _key(url: Path) -> str:
    """Bucket and key, as file systems take them."""
    known: Any = url
    return str(known.path).rstrip("/")


def _is_bucket(error: FileNotFoundError) -> bool:
    """Whether what is not there is the bucket itself."""
    return "NoSuchBucket" in repr(error.__cause__)
