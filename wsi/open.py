"""Opening a slide with the reader that knows its format."""

import weakref
from pathlib import Path

import openslide

from wsi.errors import SlideNotFoundError, UnsupportedSlideError
from wsi.fetched import FETCHED_SUFFIXES, hold_copy
from wsi.jpeg.decode import can_decode
from wsi.jpeg.find import find_tiles
from wsi.misread import is_misread
from wsi.readers.jpeg_reader import JpegSlide
from wsi.readers.ometiff import is_ome
from wsi.readers.omezarr_reader import OmeZarrReader, is_zarr
from wsi.readers.openslide_reader import OpenSlideReader
from wsi.readers.tiffslide_reader import TiffSlideReader
from wsi.ref import SlideRef
from wsi.remote import is_remote, slide_path
from wsi.rights import explained_access
from wsi.slide import Slide
from wsi.truncation import refuse_truncated

SLIDE_SUFFIXES = frozenset(
    {".bif", ".dcm", ".mrxs", ".ndpi", ".scn", ".svs", ".svslide", ".tif", ".tiff", ".vms", ".vmu"}
)


ZARR_SUFFIX = ".zarr"  # of folders that are slides


def open_slide(slide: SlideRef | Path | str) -> Slide:
    """Open a slide: OpenSlide where it recognises the format, tiffslide for OME and other TIFFs.

    Those that OpenSlide would show wrongly, see `wsi.misread`, go to tiffslide too.
    Folders are OME-Zarr, and so are URLs but for those of one file, of which a local copy is made
    (see `wsi.fetched`). Each says what the slide is; where its tiles are JPEG they are decoded
    without it.

    Raises
    ------
    SlideNotFoundError
        If there is no such file or folder.
    SlidePermissionError
        If it may not be read.
    TruncatedSlideError
        If the file ends before what it says it holds.
    UnsupportedSlideError
        If no reader opens it; the message holds what each reader said.
    UnreachableSlideError
        If a URL does not answer.
    """
    path = slide.path if isinstance(slide, SlideRef) else slide_path(slide)
    with explained_access(path):
        return _open(path)


def _open(path: Path) -> Slide:
    if is_remote(path) and path.suffix.lower() in FETCHED_SUFFIXES:
        return _open_copy(path)
    if is_remote(path) and path.suffix.lower() in SLIDE_SUFFIXES:
        raise UnsupportedSlideError(
            f"{path}: slides of this format may have several files and are not read by URL; copy "
            "them first, or convert the slide with 'raypath convert' and put the folder there"
        )
    if is_remote(path) or path.suffix == ZARR_SUFFIX or is_zarr(path):
        return with_jpeg_tiles(path, OmeZarrReader(path))
    if not path.is_file():
        raise SlideNotFoundError(f"no slide at {path}: check the path")
    refuse_truncated(path)
    return with_jpeg_tiles(path, _open_with_a_reader(path))


def _open_copy(url: Path) -> Slide:
    """Open the local copy of the slide at `url`, which stays as long as the slide is in use."""
    copy = hold_copy(url)
    try:
        slide = open_slide(copy.path)
    except BaseException:
        copy.release()
        raise
    weakref.finalize(slide, copy.release)
    return slide


def with_jpeg_tiles(path: Path, slide: Slide) -> Slide:
    """The open slide at `path`, read from its JPEG tiles where it has any that decode."""
    try:
        tiles = find_tiles(path, slide)
        readable = tiles is not None and can_decode(tiles)
    except BaseException:
        slide.close()
        raise
    return JpegSlide(slide, tiles) if tiles is not None and readable else slide


def _is_plain_ome(slide: Slide) -> bool:
    """Whether OpenSlide takes an OME-TIFF for a plain TIFF.

    It then shows the first page alone: no levels in sub-directories, one channel of three, and not
    the pixel size of the XML.
    """
    description = slide.properties.get("tiff.ImageDescription", "")
    return slide.vendor == "generic-tiff" and is_ome(description)


def _open_with_a_reader(path: Path) -> Slide:
    refusals: list[str] = []
    causes: list[Exception] = []
    try:
        slide = OpenSlideReader(path)
        if not _is_plain_ome(slide) and not is_misread(path):
            return slide
        slide.close()
    except openslide.OpenSlideError as error:
        refusals.append(f"OpenSlide: {error}")
        causes.append(error)
    try:
        return TiffSlideReader(path)
    except UnsupportedSlideError as error:
        refusals.append(f"tiffslide: {error}")
        causes.append(error)
    is_unknown = isinstance(causes[0], openslide.OpenSlideUnsupportedFormatError)
    trouble = "no reader opens this file"
    if is_unknown and not _is_tiff(path):
        trouble = "no slide format known here: give the slide's own file, or leave it out"
    raise UnsupportedSlideError(f"{path.name}: {trouble} ({'; '.join(refusals)})") from causes[0]


def _is_tiff(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) in (b"II", b"MM")
