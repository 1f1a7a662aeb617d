"""Labelled nuclei from a folder, whichever of the known layouts it has."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from distill.errors import LabelledDataError
from distill.teachers.labelled import Labelled
from distill.teachers.layouts import consep, dsb, folders, monuseg, pannuke


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """How a set is laid out: by which files it is recognised, and how it is read."""

    description: str
    recognises: Callable[[Path], bool]
    read: Callable[[Path], Iterator[Labelled]]


LAYOUTS = tuple(
    Layout(description=of.DESCRIPTION, recognises=of.recognises, read=of.read)
    for of in (consep, pannuke, folders, monuseg, dsb)
)


def read_labelled(folder: Path, *, mpp: float | None = None) -> list[Labelled]:
    """Read every labelled image below a folder.

    Parameters
    ----------
    mpp
        µm per pixel where the layout does not say it.

    Raises
    ------
    LabelledDataError
        If the folder has none of the known layouts, or a file does not fit its layout.
    """
    for layout in LAYOUTS:
        if layout.recognises(folder):
            return [replace(image, mpp=image.mpp or mpp) for image in layout.read(folder)]
    known = "; ".join(layout.description for layout in LAYOUTS)
    raise LabelledDataError(f"{folder} holds no labelled nuclei in a known layout: {known}")
