"""What a storage cannot do: said with the way out, after asking again where that may help."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from cluster.retries import wait_s
from pipelines.output import NOT_ALLOWED
from wsi.errors import (
    NO_ROOM,
    DiskFullError,
    OutputPermissionError,
    RayPathError,
    UnreachableOutputError,
)
from wsi.remote import is_of_storage

NO_CREDENTIALS = ("NoCredentialsError", "PartialCredentialsError", "NoAuthTokenError")
FULL = ("StorageFull", "QuotaExceeded", "InsufficientStorage", "EntityTooLarge")  # codes of servers

Result = TypeVar("Result")


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
            if not lacks_bucket(error):
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


def lacks_bucket(error: FileNotFoundError) -> bool:
    """Whether what is not there is the bucket itself."""
    return "NoSuchBucket" in repr(error.__cause__)
