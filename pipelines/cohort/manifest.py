"""Which slides to work on: slides, folders of them, URLs, or a manifest in CSV or Parquet."""

import math
import os
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from unicodedata import normalize

from pipelines.cohort.dicom_series import of_same_series
from pipelines.cohort.find_slides import find_slides
from pipelines.cohort.patients import patients_astride
from pipelines.cohort.tables import read_csv, read_parquet
from pipelines.errors import ManifestError, UsageError
from pipelines.runfolder import IMAGE_NAME
from wsi.errors import UnsupportedSlideError
from wsi.ref import SlideRef
from wsi.remote import file_system, is_remote, slide_path

MANIFEST_SUFFIXES = frozenset({".csv", ".parquet"})
COLUMNS = ("path", "slide_id", "patient_id", "label", "split", "mpp", "mask")
FORBIDDEN_IN_ID = frozenset('/\\:*?"<>|')  # they would end a file name on some system
# Bytes. File systems have room for 255, and what is being written has a longer name.
LONGEST_ID = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A slide of a cohort, with what the manifest says of it."""

    ref: SlideRef
    patient_id: str | None = None
    label: str | None = None
    split: str | None = None


def read_cohort(
    arguments: Sequence[Path | str],
    *,
    mpp: float | None = None,
    result_of: Callable[[str], Path] | None = None,
) -> tuple[Entry, ...]:
    """Read what stands on the command line: one manifest, or slides, folders of them, and URLs.

    A folder may be one that `raypath run` or `convert` wrote; its pyramids are the slides.

    Parameters
    ----------
    mpp
        The command line's µm per pixel, for slides of which a manifest says none.
    result_of
        Where the pyramid of a slide id will be written. One that lies there is none of a folder's
        slides, so that results may lie among slides when the same command is given again.

    Raises
    ------
    UsageError
        If there is no slide, a URL is of no kind that is read, or a manifest is mixed with slides.
    ManifestError
        If the manifest contradicts itself, or two slides would have the same id.
    """
    try:
        given = [slide_path(argument) for argument in arguments]
    except UnsupportedSlideError as error:
        raise UsageError(str(error)) from error
    manifests = [path for path in given if path.suffix.lower() in MANIFEST_SUFFIXES]
    if manifests:
        if len(given) > 1:
            raise UsageError("give one manifest, or slides, not both")
        entries = read_manifest(manifests[0])
    else:
        slides = (_absolute(slide) for path in given for slide in _slides(path, result_of))
        entries = tuple(Entry(ref=SlideRef(path=p, slide_id=_slide_id(p))) for p in slides)
        _check(entries, where="the slides given")
    return tuple(_with_mpp(entry, mpp) for entry in entries)


def read_manifest(path: Path) -> tuple[Entry, ...]:
    """Read a manifest; relative paths are relative to it, and a path may be a URL.

    Columns: `path`, and optionally `slide_id`, `patient_id`, `label`, `split`, `mpp`, `mask`.
    A slide that does not exist is not an error here: it gets a verdict like any other.

    Raises
    ------
    ManifestError
        If it does not parse or has other columns; else listing every problem: rows without a
        path, duplicated or unusable ids, mpp that is no positive number, patients in two splits.
    """
    try:
        if is_remote(path):
            file_system(path)  # says which package is missing
        is_parquet = path.suffix.lower() == ".parquet"
        columns, rows = read_parquet(path) if is_parquet else read_csv(path)
    except (OSError, OverflowError, ValueError) as error:
        raise ManifestError(f"manifest {path}: {error}") from error
    if "path" not in columns or any(c not in COLUMNS or columns.count(c) > 1 for c in columns):
        raise ManifestError(
            f"manifest {path}: columns are {', '.join(columns)}; "
            f"'path' is needed and these are known, once each: {', '.join(COLUMNS)}"
        )
    problems: list[str] = []
    entries = []
    for number, row in rows:
        try:
            entries.append(_entry(row, path.parent))
        except ManifestError as error:
            problems.append(f"row {number}: {error}")
    _check(entries, where=f"manifest {path}", problems=problems)
    return tuple(entries)


def is_same(slide: Path, result: Path) -> bool:
    """Whether a slide lies where a result would."""
    if is_remote(slide) or is_remote(result):
        return str(slide) == str(result)
    return os.path.realpath(slide) == os.path.realpath(result)  # of links in a loop too


def _slides(given: Path, result_of: Callable[[str], Path] | None) -> list[Path]:
    """The slide given or those in a folder, without results; where there are only these, these."""
    found = find_slides(given)
    if result_of is None:
        return found
    return [slide for slide in found if not is_same(slide, result_of(_slide_id(slide)))] or found


def _with_mpp(entry: Entry, mpp: float | None) -> Entry:
    if mpp is None or entry.ref.mpp is not None:
        return entry
    return replace(entry, ref=replace(entry.ref, mpp=mpp, mpp_source="flag"))


def _entry(row: Mapping[str, str], folder: Path) -> Entry:
    text = {key: value for key, value in row.items() if value}
    if "path" not in text:
        raise ManifestError("no path")
    try:
        path = _place(text["path"], folder)
        mask = _mask(text["mask"], folder) if "mask" in text else None
    except UnsupportedSlideError as error:
        raise ManifestError(str(error)) from error
    ref = SlideRef(
        path=path,
        slide_id=text.get("slide_id", _slide_id(path)),
        mpp=_mpp(text["mpp"]) if "mpp" in text else None,
        mpp_source="manifest",
        mask=mask,
    )
    return Entry(
        ref=ref,
        patient_id=text.get("patient_id"),
        label=text.get("label"),
        split=text.get("split"),
    )


def _place(text: str, folder: Path) -> Path:
    """A row's path, relative to the manifest: a URL where that is at one."""
    path = slide_path(text)
    return path if is_remote(path) else slide_path(str(_absolute(folder / path)))


def _mask(text: str, folder: Path) -> Path:
    mask = _place(text, folder)
    if is_remote(mask):
        raise ManifestError(
            f"mask {mask}: masks are read from disks alone: download it, and give its whole path"
        )
    return mask


def _mpp(text: str) -> float:
    try:
        mpp = float(text)
    except ValueError as error:
        raise ManifestError(f"mpp {text!r} is not a number") from error
    if not 0 < mpp < math.inf:
        raise ManifestError(f"mpp {text!r} is not a positive number")
    return mpp


def _absolute(path: Path) -> Path:
    """The path from anywhere: tasks may run in another folder."""
    return path if is_remote(path) else path.absolute()


def _slide_id(path: Path) -> str:
    """A slide's id from its path; a pyramid in a run's folder is called as its folder is."""
    return path.parent.name if path.name == IMAGE_NAME else SlideRef.of(path).slide_id


def _check(entries: Sequence[Entry], *, where: str, problems: Sequence[str] = ()) -> None:
    """Find every contradiction between entries, and report them with the `problems` known."""
    problems = list(problems)
    if not entries and not problems:
        raise ManifestError(f"{where}: no slides")
    same: dict[str, list[SlideRef]] = defaultdict(list)
    by_file: dict[str, list[Entry]] = defaultdict(list)
    with_ids = "give them ids of their own in the column slide_id of a manifest"
    for entry in entries:
        # Ids become folder names, and some file systems do not tell cases or spellings apart.
        same[normalize("NFC", entry.ref.slide_id).casefold()].append(entry.ref)
        if entry.split:
            by_file[_file(entry.ref.path)].append(entry)
        problem = _problem_of_id(entry.ref.slide_id)
        if problem:
            problems.append(f"{problem}, of {entry.ref.path}: {with_ids}")
    for of_id in same.values():
        if len(of_id) > 1:
            name, files = of_id[0].slide_id, ", ".join(str(ref.path) for ref in of_id)
            problems.append(f"slide_id {name!r} is used {len(of_id)} times: {files}: {with_ids}")
    local = (entry.ref.path for entry in entries if not is_remote(entry.ref.path))
    for of_series in of_same_series(local):
        files = ", ".join(map(str, of_series))
        problems.append(f"{files} are of one DICOM series, so of one slide: name one of them")
    owners = ((e.patient_id, e.split) for e in entries if e.patient_id and e.split)
    for patient, splits in patients_astride(owners):
        problems.append(f"{patient} is in splits {', '.join(splits)}")
    for file, of_file in by_file.items():
        astride = sorted({entry.split or "" for entry in of_file})
        if len(astride) > 1:
            names = ", ".join(repr(entry.ref.slide_id) for entry in of_file)
            problems.append(f"{file} is in splits {', '.join(astride)} under the ids {names}")
    if problems:
        raise ManifestError(f"{where}: {'; '.join(problems)}")


def _file(path: Path) -> str:
    """A slide's one name, whatever links and dots lead to it."""
    return str(path) if is_remote(path) else os.path.realpath(path)


def _problem_of_id(slide_id: str) -> str | None:
    length = len(os.fsencode(slide_id))
    if not 1 <= length <= LONGEST_ID:
        return f"slide_id {slide_id!r} has {length} bytes, not 1-{LONGEST_ID}"
    if slide_id.startswith(".") or slide_id.endswith((".", " ")):
        return f"slide_id {slide_id!r} begins with a dot, or ends with a dot or a space"
    bad = sorted({c for c in slide_id if c in FORBIDDEN_IN_ID or not c.isprintable()})
    return f"slide_id {slide_id!r} has characters no file name may have: {bad}" if bad else None
