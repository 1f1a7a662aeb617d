"""Opening a slide with the reader that knows its format."""

from pathlib import Path

import openslide

from wsi.errors import SlideNotFoundError, UnsupportedSlideError
from wsi.readers.openslide_reader import OpenSlideReader
from wsi.readers.tiffslide_reader import TiffSlideReader
from wsi.ref import SlideRef
from wsi.slide import Slide

SLIDE_SUFFIXES = frozenset(
    {".bif", ".dcm", ".mrxs", ".ndpi", ".scn", ".svs", ".svslide", ".tif", ".tiff", ".vms", ".vmu"}
)


def open_slide(slide: SlideRef | Path | str) -> Slide:
    """Open a slide: OpenSlide where it recognises the format, tiffslide for other TIFFs.

    Raises
    ------
    SlideNotFoundError
        If there is no such file.
    UnsupportedSlideError
        If no reader opens it; the message holds what each reader said.
    """
    path = slide.path if isinstance(slide, SlideRef) else Path(slide)
    if not path.is_file():
        raise SlideNotFoundError(f"no slide at {path}: check the path")
    refusals: list[str] = []
    causes: list[Exception] = []
    try:
        return OpenSlideReader(path)
    except openslide.OpenSlideError as error:
        refusals.append(f"OpenSlide: {error}")
        causes.append(error)
    try:
        return TiffSlideReader(path)
    except UnsupportedSlideError as error:
        refusals.append(f"tiffslide: {error}")
        causes.append(error)
    raise UnsupportedSlideError(
        f"{path.name}: no reader opens this file ({'; '.join(refusals)})"
    ) from causes[0]
