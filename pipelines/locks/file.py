"""Where a lock's text is kept: a file that is created exclusively, or an object at a URL."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pipelines.locks.holder import said_in
from pipelines.remote.store import create_object, read_object, remove_objects, write_object
from wsi.remote import is_remote


class LockFile(Protocol):
    """The text of a lock, at `path`, and whoever created it may change it."""

    path: Path

    def create(self, text: bytes) -> bool:
        """Write the text unless there is one; whether it was written."""

    def read(self) -> bytes | None:
        """The text, None where there is none."""

    def glance(self) -> bytes | None:
        """The text as it was not long ago: asked for often."""

    def rewrite(self, text: bytes) -> None:
        """Change the text we created, and not that of whoever took our place: another holder's."""

    def take_place_of(self, path: Path) -> None:
        """Become what is at `path`, which nobody holds any more."""

    def remove(self) -> None:
        """Remove the text, whosever it is."""

    def close(self) -> None:
        """Write no more."""


def lock_file(path: Path) -> LockFile:
    """The lock at `path`, which is a URL or not."""
    return _Object(path=path) if is_remote(path) else _File(path=path)


@dataclass(slots=True, kw_only=True)
class _File:
    path: Path
    _file: int | None = None

    def create(self, text: bytes) -> bool:
        try:
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
        except FileExistsError:
            return False
        self.rewrite(text)
        return True

    def read(self) -> bytes | None:
        try:
            return self.path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None

    glance = read

    def rewrite(self, text: bytes) -> None:
        # In place: the file of whoever took over has our name and is another.
        assert self._file is not None  # it was created
        os.pwrite(self._file, text, 0)
        os.fsync(self._file)

    def take_place_of(self, path: Path) -> None:
        os.replace(self.path, path)  # whole at every moment
        self.path = path

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)


@dataclass(slots=True, kw_only=True)
class _Object:
    """An object has no place of its own: before each change it is read whether it is still ours.

    Between that and the change are milliseconds, and whoever takes over waits for a minute.
    """

    path: Path
    _ours: bytes = b""
    _seen: bytes | None = None

    def create(self, text: bytes) -> bool:
        if self.read() is not None or not create_object(self.path, text):
            return False
        self._ours = text
        return self.read() == text  # where the storage has no If-None-Match, the last one has it

    def read(self) -> bytes | None:
        self._seen = read_object(self.path)
        return self._seen

    def glance(self) -> bytes | None:
        return self._seen

    def rewrite(self, text: bytes) -> None:
        # By the holder it names: of a change whose answer was lost nobody knows if it was made.
        found, ours = said_in(self.read()), said_in(text)
        if found is not None and ours is not None and found[0] == ours[0]:
            self._write(self.path, text)

    def take_place_of(self, path: Path) -> None:
        self._write(path, self._ours)
        self.remove()
        self.path = path

    def remove(self) -> None:
        remove_objects(self.path.parent, [self.path.name])

    def close(self) -> None:
        pass

    def _write(self, path: Path, text: bytes) -> None:
        write_object(path, text)
        self._ours = self._seen = text
