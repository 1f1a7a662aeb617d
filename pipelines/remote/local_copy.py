"""What commands that look at a run need of it on this machine: nothing but files, of any run."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pipelines.journal import JOURNAL_NAME
from pipelines.receipts import RECEIPT_NAME
from pipelines.remote.store import (
    fetch_objects,
    list_folders,
    list_objects,
    read_object,
    remove_objects,
    write_object,
)
from pipelines.remote.workplace import local_folder
from pipelines.runfolder import (
    INFO_NAME,
    RECORDS_NAME,
    REPORT_NAME,
    SLIDES_NAME,
    is_folder_name,
    not_a_run,
)
from pipelines.status.progress_file import PROGRESS_NAME
from wsi.atomic import remove, replacing
from wsi.remote import is_remote

OWN_NAMES = (INFO_NAME, RECORDS_NAME, JOURNAL_NAME, RECEIPT_NAME, REPORT_NAME, PROGRESS_NAME)


def own_files(out: Path, names: Iterable[str] = OWN_NAMES) -> Path:
    """A folder that has those of the run's own files that there are, as they are now.

    Raises
    ------
    NotARunError
        If there is none of them.
    OutputError
        If the storage does not answer, or does not let us.
    """
    if not is_remote(out):
        return out
    folder = local_folder(out)
    folder.mkdir(parents=True, exist_ok=True)
    found = False
    for name in names:
        content = read_object(out / name)
        if content is None:
            remove(folder / name)
            continue
        found = True
        with replacing(folder / name) as tmp:
            tmp.write_bytes(content)
    if not found:
        raise not_a_run(out)
    return folder


def slide_names(out: Path) -> list[str]:
    """The names of the folders below ``slides``, in order."""
    slides = out / SLIDES_NAME
    if is_remote(out):
        return sorted(filter(is_folder_name, list_folders(slides)))
    return sorted(folder.name for folder in slides.glob("*") if folder.is_dir())


@contextmanager
def slide_at_hand(folder: Path) -> Iterator[Path]:
    """A folder that has all that a slide's has, for as long as the context lasts."""
    if not is_remote(folder):
        yield folder
        return
    near = local_folder(folder)
    remove(near)
    try:
        fetch_objects(folder, list_objects(folder), near)
        yield near
    finally:
        remove(near)


def leave(path: Path, text: str) -> None:
    """Write a text, whole or not at all; its folder is made.

    What of a name is no text, as of a file on a disk, is written as the numbers of its bytes.
    """
    content = text.encode(errors="backslashreplace")
    if is_remote(path):
        write_object(path, content)
        return
    with replacing(path) as tmp:
        tmp.write_bytes(content)


def drop(path: Path) -> None:
    """Remove a file, if there is one."""
    if is_remote(path):
        remove_objects(path.parent, [path.name])
    else:
        remove(path)
