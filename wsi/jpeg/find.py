"""Finding the JPEG tiles of a slide, whatever file they lie in."""

from pathlib import Path

from wsi.jpeg.tiff import tiff_tiles
from wsi.jpeg.tiles import JpegTiles
from wsi.slide import Slide


def find_tiles(path: Path, slide: Slide) -> JpegTiles | None:
    """The JPEG tiles of every level of the open `slide` at `path`; None where there are none."""
    return tiff_tiles(path, slide)
