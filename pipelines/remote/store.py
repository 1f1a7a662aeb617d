"""Objects below a URL, asked for one by one: what a run's results are stored as.

fsspec does the asking, as for slides. Names are taken as they are: its calls for many files at
once take ``*`` and ``?`` in a slide's id for patterns.
"""

import uuid
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from pipelines.remote.errors import explained_store, lacks_bucket, patiently
from pipelines.runfolder import UnsafeNameError
from wsi.remote import ObjectInfo, file_system, object_version

AT_ONCE = 8  # files on their way from a process
PART_BYTES = 8 << 20  # of a large object: a process holds at most 2 * PART_BYTES a file

Result = TypeVar("Result")


def list_objects(url: Path) -> dict[str, ObjectInfo]:
    """Size and version of every object below `url`, by name below it.

    Raises
    ------
    UnsafeNameError
        If a name leads out of `url` where it is taken for that of a file.
    OutputError
        If the storage does not answer, or does not let us.
    """
    files = file_system(url)
    files.invalidate_cache()
    return _listed(files, url)


def list_each(url: Path, names: Sequence[str]) -> list[dict[str, ObjectInfo]]:
    """What `list_objects` says of each of several folders below `url`, asked for at once."""
    files = file_system(url)
    files.invalidate_cache()
    return _each(names, lambda name: _listed(files, url / name))


def list_folders(url: Path) -> list[str]:
    """The names directly below `url` that have objects below them; raises as `list_objects`."""

    def ask() -> list[str]:
        files = file_system(url)
        files.invalidate_cache()
        try:
            found = files.ls(_key(url), detail=True)
        except FileNotFoundError as error:
            if lacks_bucket(error):
                raise
            return []
        return [each["name"].rpartition("/")[2] for each in found if each["type"] == "directory"]

    return [_inside(url, name) for name in patiently(url, ask)]


def check_store(url: Path) -> None:
    """Make sure at once that objects can be stored, read and removed below `url`.

    Raises
    ------
    OutputError
        If they cannot.
    """
    name = f".probe-{uuid.uuid4().hex[:8]}"
    with explained_store(url):
        files, key = file_system(url), f"{_key(url)}/{name}"
        files.pipe_file(key, b"raypath")
        files.cat_file(key)
        files.rm_file(key)


def read_object(url: Path) -> bytes | None:
    """The bytes of an object, None where there is none; raises as `list_objects`."""

    def ask() -> bytes | None:
        try:
            return bytes(file_system(url).cat_file(_key(url)))
        except FileNotFoundError as error:
            if lacks_bucket(error):
                raise
            return None

    return patiently(url, ask)


def has_object(url: Path) -> bool:
    """Whether there is an object; raises as `list_objects`."""

    def ask() -> bool:
        try:
            files = file_system(url)
            files.invalidate_cache()
            files.info(_key(url))
        except FileNotFoundError as error:
            if lacks_bucket(error):
                raise
            return False
        return True

    return patiently(url, ask)


def write_object(url: Path, content: bytes) -> None:
    """Store an object, whole or not at all; raises as `list_objects`."""
    patiently(url, lambda: file_system(url).pipe_file(_key(url), content))


def create_object(url: Path, content: bytes) -> bool:
    """Store an object unless there is one (``If-None-Match``); whether it was stored.

    Asked once: of a second try nobody could tell whether the first was what it found.

    Raises
    ------
    OutputError
        If the storage does not answer, or does not let us.
    """
    with explained_store(url):
        try:
            file_system(url).pipe_file(_key(url), content, mode="create")
        except FileExistsError:
            return False
    return True


def remove_objects(url: Path, names: Iterable[str]) -> None:
    """Remove objects below `url`, if they are there; raises as `list_objects`."""
    files = file_system(url)  # each thread that asked would get one of its own, and keep it

    def remove(name: str) -> None:
        try:
            files.rm_file(f"{_key(url)}/{name}")
        except FileNotFoundError as error:
            if lacks_bucket(error):
                raise

    _each(names, lambda name: patiently(url, lambda: remove(name)))


def fetch_objects(url: Path, names: Iterable[str], folder: Path) -> None:
    """Fetch objects below `url` to the same names in `folder`.

    Raises
    ------
    UnsafeNameError
        If a name leads out of `folder`; nothing is fetched then.
    FileNotFoundError
        If there is no such object.
    OutputError
        If the storage does not answer or does not let us, or there is no room.
    """
    files = file_system(url)

    def fetch(name: str) -> None:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        source = f"{_key(url)}/{name}"
        patiently(url, lambda: files.get_file(source, str(path)))

    _each([_inside(url, name) for name in names], fetch)


def store_files(folder: Path, names: Iterable[str], url: Path) -> None:
    """Store files in `folder` as objects of the same names below `url`; as `list_objects`."""
    files = file_system(url)

    def store(name: str) -> None:
        target, parts = f"{_key(url)}/{name}", {"chunksize": PART_BYTES}
        patiently(url, lambda: files.put_file(str(folder / name), target, **parts))

    _each(names, store)


def _listed(files: Any, url: Path) -> dict[str, ObjectInfo]:
    root = _key(url)
    found: dict[str, Any] = patiently(url, lambda: files.find(root, detail=True))
    return {
        _inside(url, name.removeprefix(f"{root}/")): ObjectInfo(
            size=int(said["size"]), version=object_version(said)
        )
        for name, said in found.items()
    }


def _inside(url: Path, name: str) -> str:
    """The name of an object below `url`, which is to be that of a file in a folder.

    Who else may write to the bucket can have chosen it: a storage takes any key as it is, and a
    disk goes where ``..`` leads.
    """
    if name.startswith("/") or ".." in name.split("/"):
        raise UnsafeNameError(
            f"{url}: the name {name!r} leads out of this folder, and no run stores such a one: "
            "find out who did, and remove what bears or says it"
        )
    return name


def _each(names: Iterable[str], do: Callable[[str], Result]) -> list[Result]:
    """Do something for each name, several at once; what came of it, in order."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(do, names))


def _key(url: Path) -> str:
    """Bucket and key, as file systems take them."""
    known: Any = url
    return str(known.path).rstrip("/")
