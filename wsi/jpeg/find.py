"""Finding the JPEG tiles of a slide, whatever file they lie in."""

from pathlib import Path

from wsi.jpeg.tiff import tiff_tiles
from wsi.jpeg.tiles import JpegTiles
from wsi.remote import is_remote
from wsi.slide import Slide


def find_tiles(path: Path, slide: Slide) -> JpegTiles | None:
    """The JPEG tiles of every level of the open `slide` at `path`; None where there are none."""
    if is_remote(path) or path.is_dir():
        return None
    return tiff_tiles(path, slide)
