"""The slides in a folder and the folders below it."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from pipelines.cohort.dicom_series import one_a_series
from pipelines.errors import UsageError
from pipelines.runfolder import HEATMAP_NAME
from wsi.open import SLIDE_SUFFIXES, ZARR_SUFFIX
from wsi.readers.omezarr_reader import is_zarr
from wsi.remote import is_remote
from wsi.rights import is_folder
from wsi.visible import is_hidden


def find_slides(given: Path) -> list[Path]:
    """A slide itself, or the slides below a folder in order of their names.

    Raises
    ------
    UsageError
        If there is none in the folder, or a folder in it may not be looked into.
    """
    if is_remote(given) or _is_pyramid(given) or not is_folder(given):
        return [given]
    found = sorted(_slides_below(given))
    if not found:
        looked_for = ", ".join(sorted(SLIDE_SUFFIXES | {ZARR_SUFFIX}))
        raise UsageError(f"no slides below {given} (looked for {looked_for})")
    return found


def _slides_below(folder: Path) -> Iterator[Path]:
    """Slides in a folder and its subfolders; a Zarr folder is a slide and not looked into.

    What is hidden is none, nor what lies in a hidden folder. Links to folders are followed, each
    folder once, under its first name. Of DICOM files, the first of each series is the slide.
    """
    seen = {folder.resolve()}
    for parent, folders, files in os.walk(folder, followlinks=True, onerror=_refuse):
        inside = [Path(parent, name) for name in sorted(folders) if not is_hidden(name)]
        new = {path.resolve(): path for path in inside[::-1] if path.resolve() not in seen}
        seen |= new.keys()
        pyramids = [path for path in new.values() if _is_pyramid(path)]
        folders[:] = [path.name for path in new.values() if path not in pyramids]
        yield from (p for p in pyramids if p.name != HEATMAP_NAME)
        beside = (Path(parent, name) for name in files if not is_hidden(name))
        yield from one_a_series(p for p in beside if p.suffix.lower() in SLIDE_SUFFIXES)


def _is_pyramid(path: Path) -> bool:
    return is_folder(path) and (path.suffix == ZARR_SUFFIX or is_zarr(path))


def _refuse(error: OSError) -> NoReturn:
    """Slides that nobody looked for would be missing without a word."""
    raise UsageError(
        f"the folder {error.filename} cannot be looked into ({error.strerror}): change its "
        "permissions, or name the slides and folders that are wanted"
    ) from error
