"""What a slide's content is, in a token that changes when the content does; and how much it is."""

import hashlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from wsi.atomic import digest
from wsi.errors import SlideError, SlideNotFoundError, UnreachableSlideError
from wsi.fetched import FETCHED_SUFFIXES
from wsi.jpeg.dicom import has_magic, series_files, series_in
from wsi.readers.omezarr_reader import OmeZarrReader
from wsi.remote import file_system, is_gone, is_remote, object_info, object_version

WEB_SCHEMES = ("http://", "https://")
ASKED_AT_ONCE = 16  # requests for the size of an object, on a web server
# Of Hamamatsu's VMS and VMU: how the lines of the index begin that name the slide's other files,
# and how much of an index OpenSlide reads.
NAMING = ("ImageFile", "MapFile", "OptimisationFile", "MacroImage")
INDEX_BYTES = 64 << 10
MOST_ASKED = 1000  # objects of a slide on a web server whose size and version are asked for


def content_digest(path: Path) -> str:
    """A token of a slide's content, for receipts.

    Of a local file: the SHA-256 of its bytes. Of a local folder, or a slide of several files: of
    their names and digests. Of a file behind a URL: a SHA-256 of its size and version (ETag or
    time of change). Of a pyramid behind one: of the names, sizes and
    versions of its objects, which are listed, not read. A web server lists nothing, so there the
    metadata is read and the names of the chunks follow from it; of a slide with over `MOST_ASKED`
    chunks as many are asked for, evenly spread, and a change of the others alone goes unseen.

    Raises
    ------
    SlideError
        If there is no slide at a URL, or it does not answer.
    """
    if not is_remote(path):
        return _digest_of_files(path)
    is_web = str(path).startswith(WEB_SCHEMES)
    total = hashlib.sha256()
    try:
        if path.suffix.lower() in FETCHED_SUFFIXES:
            said = object_info(path)
            return hashlib.sha256(f"{said.size} {said.version}".encode()).hexdigest()
        for line in _ask(path) if is_web else _listed(path):
            total.update(f"{line}\n".encode())
    except SlideError:
        raise
    except Exception as error:  # each file system raises errors of its own
        if is_gone(error):
            raise SlideNotFoundError(f"no slide at {path}: check the URL") from error
        reason = str(error.__cause__ or error) or type(error).__name__
        raise UnreachableSlideError(f"{path}: {reason}") from error
    return total.hexdigest()


def stored_sizes(paths: Iterable[Path]) -> Iterator[int | None]:
    """`stored_bytes` of each; the DICOM files of a folder are looked at once for all of them."""
    in_folder = cache(series_in)

    def series(path: Path) -> list[Path]:
        return in_folder(path.parent).get(path, []) if has_magic(path) else []

    for path in paths:
        yield stored_bytes(path, series=series)


def stored_bytes(path: Path, *, series: Callable[[Path], list[Path]] = series_files) -> int | None:
    """Bytes of all files of a slide, or below a folder.

    None behind a URL, or if it is not there or cannot be looked at. `series` finds the files of a
    DICOM slide.
    """
    try:
        if is_remote(path) or not path.exists():
            return None
        own = 0 if path.is_dir() else path.stat().st_size
        return own + sum(file.stat().st_size for file in other_files(path, series=series)[1])
    except OSError:
        return None


def other_files(
    path: Path, *, series: Callable[[Path], list[Path]] = series_files
) -> tuple[Path, list[Path]]:
    """The files that make up a local slide, but for `path` itself, and the folder they are in.

    Those in the folder that is the slide or, of MIRAX, has its name; of DICOM the other files of
    its series; of Hamamatsu's VMS and VMU those beside it that it names.
    """
    suffix = path.suffix.lower()
    if path.is_file() and suffix in (".vms", ".vmu"):
        return path.parent, _named_in(path)
    if path.is_file() and suffix != ".mrxs":
        return path.parent, sorted(file for file in series(path) if file != path)
    folder = path.with_suffix("") if path.is_file() else path
    inside = sorted(p for p in folder.rglob("*") if p.is_file()) if folder.is_dir() else []
    return folder, inside


def _named_in(index: Path) -> list[Path]:
    with index.open("rb") as file:
        lines = file.read(INDEX_BYTES).decode(errors="replace").splitlines()
    named = {line.partition("=")[2].strip() for line in lines if line.startswith(NAMING)}
    beside = (file for file in index.parent.iterdir() if file.name in named and file != index)
    return sorted(file for file in beside if file.is_file())


def _digest_of_files(path: Path) -> str:
    """The digest of a folder or file; where the slide has other files, over that and theirs."""
    if path.is_dir():
        return digest(path)
    folder, others = other_files(path)
    if not others:
        return digest(path)
    total = hashlib.sha256(f"{digest(path)}\n".encode())
    for file in others:
        total.update(f"{file.relative_to(folder).as_posix()} {digest(file)}\n".encode())
    return total.hexdigest()


def _listed(path: Path) -> Iterator[str]:
    url: Any = path
    found: Mapping[str, Any] = file_system(path).find(url.path, detail=True)
    for name in sorted(found):
        yield _line(name.removeprefix(url.path), found[name])


def _ask(path: Path) -> Iterator[str]:
    """A line for each object of a slide on a web server, in a fixed order."""
    files, url = file_system(path), str(path)
    with OmeZarrReader(path) as slide:
        documents = _documents(slide)
        chunks = list(_chunk_names(slide))
    for name in documents:
        try:
            yield f"{name} {hashlib.sha256(files.cat_file(f'{url}/{name}')).hexdigest()}"
        except FileNotFoundError:
            yield f"{name} -"
    if len(chunks) > MOST_ASKED:
        spread = np.linspace(0, len(chunks) - 1, MOST_ASKED).round().astype(int)
        chunks = [chunks[n] for n in spread]

    def ask(name: str) -> str:
        try:
            return _line(name, files.info(f"{url}/{name}"))
        except FileNotFoundError as error:
            if not is_gone(error):
                raise
            return f"{name} -"

    with ThreadPoolExecutor(ASKED_AT_ONCE) as pool:
        yield from pool.map(ask, chunks)


def _documents(slide: OmeZarrReader) -> list[str]:
    """The metadata of the image's group and of its levels."""
    names = ("zarr.json", ".zattrs", ".zarray")
    folders = {"", slide.levels[0].path.rpartition("/")[0], *(a.path for a in slide.levels)}
    return [f"{folder}/{name}".lstrip("/") for folder in sorted(folders) for name in names]


def _chunk_names(slide: OmeZarrReader) -> Iterable[str]:
    """The objects that the levels' chunks, or shards, are stored as."""
    for level in slide.levels:
        stored = level.shards or level.chunks
        counts = (-(-n // size) for n, size in zip(level.shape, stored, strict=True))
        for place in itertools.product(*(range(count) for count in counts)):
            yield f"{level.path}/{level.metadata.encode_chunk_key(place)}"


def _line(name: str, said: Mapping[str, Any]) -> str:
    """An object's name, size and version."""
    return f"{name} {said.get('size')} {object_version(said)}"
