"""Telling whether a slide's file is still the one that was looked at."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from wsi.errors import SourceChangedError
from wsi.identity import content_digest, other_files
from wsi.remote import is_remote

END_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What identifies a slide's bytes without reading all of them.

    Attributes
    ----------
    size
        Bytes of all its files; 0 behind a URL.
    ends
        SHA-256 of the first and last mebibyte, and of the names and sizes of the slide's other
        files, see `other_files`; behind a URL see `content_digest`.
    modified
        Latest time of change, ns. It tells a change while work goes on, and is no part of the
        identity: a copied file is the same slide.
    """

    size: int
    ends: str
    modified: int

    @property
    def identity(self) -> str:
        """The same for files of the same content."""
        return f"{self.size}-{self.ends}"


def look_at_source(path: Path) -> Source:
    """Identify the file or folder of a slide, or what lies behind its URL."""
    if is_remote(path):
        return Source(size=0, ends=content_digest(path), modified=0)
    total = hashlib.sha256()
    folder, files = other_files(path)
    stats = [found.stat() for found in files]
    for found, stat in zip(files, stats, strict=True):
        total.update(f"{found.relative_to(folder).as_posix()} {stat.st_size}\n".encode())
    if not path.is_dir():
        with path.open("rb") as file:
            stats.append(path.stat())
            total.update(file.read(END_BYTES))
            file.seek(max(0, stats[-1].st_size - END_BYTES))
            total.update(file.read(END_BYTES))
    return Source(
        size=sum(stat.st_size for stat in stats),
        ends=total.hexdigest(),
        modified=max((stat.st_mtime_ns for stat in stats), default=0),
    )


def check_unchanged(path: Path, before: Source) -> None:
    """Compare a slide with what it was.

    Raises
    ------
    SourceChangedError
        If its size, time of change, beginning or end differ, or it is gone.
    """
    try:
        now = look_at_source(path)
    except FileNotFoundError as error:
        raise SourceChangedError(f"{path} is gone: it was removed while it was read") from error
    if now != before:
        raise SourceChangedError(
            f"{path} changed while it was read ({before.size} bytes then, {now.size} now): "
            "wait until it is copied completely, then do it again"
        )
