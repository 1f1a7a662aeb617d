"""Where results may go, and the system's refusals to write, as errors that say what to do."""

import errno
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cluster.executor import Failure
from pipelines.errors import UsageError
from wsi.errors import NO_ROOM, DiskFullError, OutputPermissionError
from wsi.remote import slide_path

GO_ON = "run the same command again, which goes on where this one stopped"
URL = re.compile(r"([a-z][a-z0-9+.-]+):/{1,2}(?=[^/])")  # pathlib makes one slash of two
STORES = ("s3", "gs")  # schemes of URLs that results can be stored at
NOT_ALLOWED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})


def output_path(text: str) -> Path:
    """A path from what a person wrote: a URL of one of `STORES`, or of a disk.

    Other URLs become what `check_local` refuses.
    """
    scheme, _, rest = text.partition("://")
    is_stored = scheme in STORES and rest and "@" not in rest.partition("/")[0]
    return slide_path(text) if is_stored else Path(text)


def check_local(out: Path) -> None:
    """Refuse a URL as a folder: what works with part of a file needs a file system.

    Raises
    ------
    UsageError
        If `out` is a URL.
    """
    if scheme := URL.match(str(out)):
        url = URL.sub(r"\1://", str(out), count=1)
        raise UsageError(
            f"{url}: this needs a folder on a disk, not {scheme[1]}://; 'raypath run' can write to "
            f"{' and '.join(f'{known}://' for known in STORES)}, and what lies there can be copied "
            f"(aws s3 sync {url} OUT, or rclone copy)"
        )


def check_folder(out: Path) -> None:
    """Refuse what cannot be a folder on a disk, because there is something else, or above it.

    Raises
    ------
    UsageError
        If there is.
    """
    there = next(path for path in (out, *out.absolute().parents) if os.path.lexists(path))
    if not there.is_dir():
        raise UsageError(f"cannot write to {out}: {there} is no folder: choose another with --out")


@contextmanager
def explained_output(path: Path, *, go_on: str) -> Iterator[None]:
    """Turn the system's refusals to write `path` into errors that say what to do.

    `go_on` ends the sentence "make room or lift the limit, then …".

    Raises
    ------
    DiskFullError
        If the disk, a quota or a limit on a file's size is exhausted.
    OutputPermissionError
        If nothing may be written there.
    """
    try:
        yield
    except OSError as error:
        if error.errno in NO_ROOM:
            raise DiskFullError(
                f"no room to write {path} ({_said(error)}; {free_bytes(path) / 1e6:.0f} MB are "
                f"free there): make room or lift the limit, then {go_on}"
            ) from error
        if error.errno in NOT_ALLOWED and _concerns(error, path.parent):
            raise OutputPermissionError(
                f"writing to {path.parent} is not allowed ({_said(error)}): "
                "choose another folder with --out, or change its permissions"
            ) from error
        raise


def stop_if_full(failure: Failure | None) -> None:
    """End a run whose slide failed because the disk is full: the others would fail as well.

    Raises
    ------
    DiskFullError
        If it did.
    """
    if failure is not None and failure.kind == DiskFullError.kind:
        raise DiskFullError(failure.message)


def free_bytes(path: Path) -> int:
    """Bytes that are free where `path` is, or would be."""
    return shutil.disk_usage(existing_folder(path)).free


def existing_folder(folder: Path) -> Path:
    """The folder itself, or the nearest above it that exists."""
    return next(path for path in (folder, *folder.absolute().parents) if path.is_dir())


def _concerns(error: OSError, folder: Path) -> bool:
    """Whether the refusal is about something in `folder` or above it, and not about the slide."""
    if error.errno == errno.EROFS:
        return True  # nothing but writing is refused so
    refused = Path(str(error.filename))
    return refused.is_relative_to(folder) or folder.is_relative_to(refused)


def _said(error: OSError) -> str:
    """What the system said; libraries leave `strerror` long or empty."""
    return errno.errorcode.get(error.errno or 0, "") + f": {error.strerror or error}"[:200]
