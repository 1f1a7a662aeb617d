"""What a slide's content is, in a token that changes when the content does; and how much it is."""

import hashlib
import itertools
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from wsi.atomic import digest
from wsi.errors import SlideError, SlideNotFoundError, UnreachableSlideError
from wsi.fetched import FETCHED_SUFFIXES
from wsi.readers.omezarr_reader import OmeZarrReader
from wsi.remote import file_system, is_gone, is_remote, object_info, object_version

WEB_SCHEMES = ("http://", "https://")
ASKED_AT_ONCE = 16  # requests for the size of an object, on a web server
MOST_ASKED = 1000  # objects of a slide on a web server whose size and version are asked for


def content_digest(path: Path) -> str:
    """A token of a slide's content, for receipts.

    Of a local file or folder: the SHA-256 of its bytes. Of a file behind a URL: a SHA-256 of its
    size and version (ETag or time of change). Of a pyramid behind one: of the names, sizes and
    versions of its objects, which are listed, not read. A web server lists nothing, so there the
    metadata is read and the names of the chunks follow from it; of a slide with over `MOST_ASKED`
    chunks as many are asked for, evenly spread, and a change of the others alone goes unseen.

    Raises
    ------
    SlideError
        If there is no slide at a URL, or it does not answer.
    """
    if not is_remote(path):
        return digest(path)
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
        raise UnreachableSlideError(f"{path}: {error}") from error
    return total.hexdigest()


def stored_bytes(path: Path) -> int | None:
    """Bytes of a file, or of all files below a folder; None behind a URL or if it is not there."""
    if is_remote(path) or not path.exists():
        return None
    if path.is_dir():
        return sum(p.stat().st_size for p in path.rglob("*") if p.is_file())
    return path.stat().st_size


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
        except FileNotFoundError:
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
