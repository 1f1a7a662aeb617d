"""Which DICOM files are one slide: those of one series in one folder, mostly a file a level.

Whichever of them is named, all are opened.
"""

import struct
import warnings
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

SUFFIX = ".dcm"
DAMAGED = (OSError, EOFError, NotImplementedError, ValueError, struct.error)
SERIES_TAG = 0x0020000E  # after the type of image, and long before what makes a header large


@dataclass(frozen=True, slots=True, kw_only=True)
class _Instance:
    """A file of a series; `is_level` if it is no picture of the label, say."""

    path: Path
    series: str
    is_level: bool


def one_a_series(files: Iterable[Path]) -> Iterator[Path]:
    """Of the DICOM files of each series the first level by name, and every other file."""
    others = set(files)
    for instances in _by_series(others):
        yield min(instances, key=lambda instance: (not instance.is_level, instance.path)).path
        others.difference_update(instance.path for instance in instances)
    yield from others


def of_same_series(files: Iterable[Path]) -> Iterator[list[Path]]:
    """Files among these that are one slide, for each of which there are several."""
    for instances in _by_series(sorted(set(files))):
        if len(instances) > 1:
            yield sorted(instance.path for instance in instances)


def _by_series(files: Iterable[Path]) -> list[list[_Instance]]:
    found: dict[tuple[Path, str], list[_Instance]] = defaultdict(list)
    for file in files:
        instance = _read(file) if file.suffix.lower() == SUFFIX else None
        if instance is not None:
            found[file.parent, instance.series].append(instance)
    return list(found.values())


def _read(path: Path) -> _Instance | None:
    """The beginning of a file's header; None if it is missing, damaged or no DICOM."""
    # Here, because only few cohorts have DICOM files, and it takes long.
    from pydicom.errors import BytesLengthException, InvalidDicomError
    from pydicom.filereader import read_partial

    try:
        with path.open("rb") as file, warnings.catch_warnings():
            # Of values that are not as they should be: the slide's verdict will say so.
            warnings.simplefilter("ignore", UserWarning)
            header = read_partial(file, stop_when=lambda tag, *_: tag > SERIES_TAG)
            series = header.get("SeriesInstanceUID")
            is_level = "VOLUME" in (header.get("ImageType") or ())
    except (*DAMAGED, BytesLengthException, InvalidDicomError):
        return None  # it gets a verdict of its own
    return _Instance(path=path, series=series, is_level=is_level) if series else None
