"""The JPEG tiles of a TIFF-based slide: SVS, pyramidal TIFF, OME-TIFF, Philips."""

from pathlib import Path

import numpy as np
import tifffile

from wsi.jpeg.codec import can_express
from wsi.jpeg.stream import Colour, Frame, JpegError, complete, read_frame
from wsi.jpeg.tiles import JpegTiles, TiledLevel
from wsi.readers.ometiff import VENDOR, completed_xml, find_scan
from wsi.slide import Slide

TRIED = 8  # tiles whose header may be damaged before the level is given up
STITCHED = frozenset({"leica", "trestle", "ventana"})  # tiles overlap or lie apart
COLOURS: dict[int, Colour] = {
    int(tifffile.PHOTOMETRIC.RGB): "rgb",
    int(tifffile.PHOTOMETRIC.YCBCR): "ycbcr",
}


def tiff_tiles(path: Path, slide: Slide) -> JpegTiles | None:
    """The tiles of every level of an open slide; None where they cannot be used as they are.

    That is so when the file is no TIFF or malformed, a level is not tiled, lacks the places of some
    tiles or is not baseline JPEG of three 8-bit components, the codec cannot express how the
    colours are coded, or the vendor's tiles are no plain grid.
    """
    if slide.vendor in STITCHED:
        return None
    try:
        omexml = completed_xml(path) if slide.vendor == VENDOR else None
        with tifffile.TiffFile(path, omexml=omexml) as tiff:
            found_pages = _scan_pages(tiff) if slide.vendor == VENDOR else _pages(tiff)
            pages = {(p.imagewidth, p.imagelength): p for p in reversed(found_pages)}
            wanted = [pages.get(dimensions) for dimensions in slide.level_dimensions]
            levels = [_level(path, tiff, page) for page in wanted if page is not None]
    except Exception:  # in a malformed file tifffile raises anything, and values have any type
        return None
    found = tuple(level for level in levels if level is not None)
    if len(found) != len(slide.level_dimensions):
        return None
    # For a tile that Aperio's coarser levels lack OpenSlide shows the finer level.
    if slide.vendor == "aperio" and any((level.lengths == 0).any() for level in found[1:]):
        return None
    return JpegTiles(levels=found)


def _scan_pages(tiff: tifffile.TiffFile) -> list[tifffile.TiffPage]:
    """The tiled pages of an OME-TIFF's scan; another image may be as large as one of its levels."""
    return [level.keyframe for level in find_scan(tiff).levels if level.keyframe.is_tiled]


def _pages(tiff: tifffile.TiffFile) -> list[tifffile.TiffPage]:
    """Tiled pages, those in sub-directories (OME-TIFF) too."""
    pages: list[tifffile.TiffPage] = []
    for page in tiff.pages:
        if isinstance(page, tifffile.TiffPage):
            pages += [page, *(p for p in page.pages or () if isinstance(p, tifffile.TiffPage))]
    return [page for page in pages if page.is_tiled]


def _level(path: Path, tiff: tifffile.TiffFile, page: tifffile.TiffPage) -> TiledLevel | None:
    colour = COLOURS.get(int(page.photometric))
    is_jpeg = page.compression == tifffile.COMPRESSION.JPEG
    if colour is None or not is_jpeg or page.samplesperpixel != 3 or page.imagedepth > 1:
        return None
    frame = _first_frame(tiff, page, colour)
    tile = (page.tilewidth, page.tilelength)
    if (
        frame is None
        or not frame.is_baseline
        or (frame.width, frame.height) != tile
        or tile[0] != tile[1]
    ):
        return None
    if not can_express(frame.sampling, colour):
        return None
    columns, rows = -(-page.imagewidth // tile[0]), -(-page.imagelength // tile[1])
    if not len(page.dataoffsets) == len(page.databytecounts) == columns * rows:
        return None
    return TiledLevel(
        dimensions=(page.imagewidth, page.imagelength),
        tile=tile,
        files=(path,),
        file_of=np.zeros(len(page.dataoffsets), np.int32),
        offsets=np.array(page.dataoffsets, np.int64),
        lengths=np.array(page.databytecounts, np.int64),
        tables=page.jpegtables,
        colour=colour,
        frame=frame,
    )


def _first_frame(tiff: tifffile.TiffFile, page: tifffile.TiffPage, colour: Colour) -> Frame | None:
    """The frame header of the first tile that has one; None if the first few have not."""
    stored = [i for i, length in enumerate(page.databytecounts) if length][:TRIED]
    for place in stored:
        tiff.filehandle.seek(page.dataoffsets[place])
        stream = tiff.filehandle.read(page.databytecounts[place])
        try:
            return read_frame(complete(stream, tables=page.jpegtables, colour=colour))
        except JpegError:
            continue
    return None
