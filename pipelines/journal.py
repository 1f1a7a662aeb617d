"""`records.jsonl`: the record of each slide, written the moment the slide is finished.

One JSON object a line, in the order in which slides are finished. The driver of a run keeps no
record: `slides.parquet` is made from this file at the end, and whoever watches reads it meanwhile.
"""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Self

from pipelines.errors import DamagedError
from pipelines.records import SlideRecord, record_from

JOURNAL_NAME = "records.jsonl"


class Journal:
    """A new `records.jsonl` to append to; a context manager."""

    def __init__(self, path: Path) -> None:
        self._file: IO[bytes] = path.open("wb")

    def append(self, record: SlideRecord) -> None:
        """Add a record; when this returns it is in the file, though the process be killed."""
        self._file.write(json.dumps(record.as_dict()).encode() + b"\n")
        self._file.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


def read_journal(path: Path, *, start: int = 0) -> Iterator[tuple[SlideRecord, int]]:
    """Yield each record from byte `start` on, with the byte at which the next one begins.

    A last line that a killed process left half-written, or that is being written, is left out:
    begin there the next time. No file is an empty one.

    Raises
    ------
    DamagedError
        If a line before that holds something else than a record.
    """
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return
    with file:
        file.seek(start)
        for line in file:
            if not line.endswith(b"\n"):
                return
            record = _record(line, path, start)
            start += len(line)
            yield record, start


def records_in_order(path: Path, slide_ids: Iterable[str]) -> Iterator[SlideRecord]:
    """Yield the records of `slide_ids` in that order, one in memory at a time.

    Raises
    ------
    KeyError
        If a slide has no record.
    DamagedError
        If a line holds something else than a record.
    """
    begins, begin = {}, 0
    for record, end in read_journal(path):
        begins[record.slide_id], begin = begin, end
    with path.open("rb") as file:
        for slide_id in slide_ids:
            file.seek(begins[slide_id])
            yield _record(file.readline(), path, begins[slide_id])


def _record(line: bytes, path: Path, begin: int) -> SlideRecord:
    """The record in a line that begins at byte `begin` of the file at `path`."""
    try:
        return record_from(json.loads(line.decode()))
    except (ValueError, LookupError, TypeError) as error:
        said = f"the line at byte {begin}: {type(error).__name__}: {error}"
        raise DamagedError.of(path, said) from error
