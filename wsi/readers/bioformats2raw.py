"""The folder that bioformats2raw makes of a slide: one OME-Zarr image a series.

Source: the OME-NGFF specifications 0.4 and 0.5, section "bioformats2raw.layout".
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import zarr

from wsi.errors import UnsupportedSlideError
from wsi.ngff_read import ome_attributes

LAYOUT = "bioformats2raw.layout"
KNOWN_LAYOUT = 3
BESIDE = (
    "label",
    "macro",
    "overview",
    "thumbnail",
)  # words in the names of series that are no scan


def read_series(
    root: zarr.Group, path: Path
) -> tuple[zarr.Group, Mapping[str, zarr.Group | zarr.Array[Any]]]:
    """The scan, and the images beside it by name.

    The scan is the first series whose name has none of the words in `BESIDE`; names are those of
    ``OME/METADATA.ome.xml``.

    Raises
    ------
    UnsupportedSlideError
        If the layout is another, or there is no scan.
    """
    layout = ome_attributes(root.attrs.asdict())[LAYOUT]
    if layout != KNOWN_LAYOUT:
        raise UnsupportedSlideError(f"{LAYOUT} {layout}: layout {KNOWN_LAYOUT} is read")
    names = _image_names(path)
    scan: zarr.Group | None = None
    beside: dict[str, zarr.Group | zarr.Array[Any]] = {}
    for number, group in enumerate(_images(root)):
        kind = kind_beside(names[number]) if number < len(names) else None
        if kind is not None:
            beside.setdefault(kind, group)
        elif scan is None:
            scan = group
    if scan is None:
        raise UnsupportedSlideError("no series of the bioformats2raw folder is a scan")
    return scan, beside


def kind_beside(name: str) -> str | None:
    """``"label"``, ``"macro"`` or ``"thumbnail"`` by an image's name; None of a scan's."""
    word = next((word for word in BESIDE if word in name.lower()), None)
    return "macro" if word == "overview" else word


def _images(root: zarr.Group) -> list[zarr.Group]:
    """The series' groups, in the order of their images in the metadata."""
    ome = root.get("OME")
    if isinstance(ome, zarr.Group):
        listed: Any = ome_attributes(ome.attrs.asdict()).get("series")
        if listed is not None:
            found = [root.get(str(name)) for name in listed]
            return [group for group in found if isinstance(group, zarr.Group)]
    groups: list[zarr.Group] = []
    while isinstance(group := root.get(str(len(groups))), zarr.Group):
        groups.append(group)
    return groups


def _image_names(path: Path) -> list[str]:
    """The names of the images in the OME-XML; empty where there is none."""
    try:
        text = (path / "OME" / "METADATA.ome.xml").read_bytes()
    except FileNotFoundError:
        return []
    images = ElementTree.fromstring(text).iterfind("{*}Image")
    return [image.get("Name", "") for image in images]
