"""Files and folders that are there whole or not at all."""

import hashlib
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

TMP_MARK = ".tmp-"


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary sibling to write to; on success it takes the name of `path`.

    Works for files and folders. On an error the temporary is removed and `path` is as it was.
    A killed process leaves a temporary behind, which `sweep` removes.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    tmp = path.with_name(f"{TMP_MARK}{uuid.uuid4().hex[:8]}-{path.name}")
    try:
        yield tmp
        publish(tmp, path)
    finally:
        remove(tmp)


def publish(tmp: Path, path: Path) -> None:
    """Give what was written at `tmp` the name `path`, in place of what had it."""
    if not path.is_dir():
        os.replace(tmp, path)
        return
    # A folder cannot be replaced in one call: step aside, then remove.
    aside = path.with_name(f"{TMP_MARK}{uuid.uuid4().hex[:8]}{_replaced(path)}")
    path.rename(aside)
    try:
        tmp.rename(path)
    except OSError:
        aside.rename(path)
        raise
    shutil.rmtree(aside)


def sweep_replaced(path: Path) -> None:
    """Remove what a process that was killed in `publish` had put aside for a new `path`."""
    for beside in path.parent.iterdir():
        if beside.name.startswith(TMP_MARK) and beside.name.endswith(_replaced(path)):
            remove(beside)


def _replaced(path: Path) -> str:
    return f"-old-{path.name}"


def sweep(folder: Path) -> None:
    """Remove what a killed process left half-written directly in `folder`."""
    for left_over in folder.glob(f"{TMP_MARK}*"):
        remove(left_over)


def digest(path: Path) -> str:
    """SHA-256 of a file's bytes, or of the names and digests of all files below a folder."""
    if path.is_dir():
        total = hashlib.sha256()
        for file in sorted(p for p in path.rglob("*") if p.is_file()):
            total.update(f"{file.relative_to(path).as_posix()} {digest(file)}\n".encode())
        return total.hexdigest()
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def remove(path: Path) -> None:
    """Remove a file or a folder, if there is one."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
