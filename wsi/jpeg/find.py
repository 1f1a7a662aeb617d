"""Finding the JPEG tiles of a slide, whatever file they lie in."""

from pathlib import Path

from wsi.jpeg.dicom import dicom_tiles
from wsi.jpeg.shards import shard_tiles
from wsi.jpeg.tiff import tiff_tiles
from wsi.jpeg.tiles import JpegTiles
from wsi.readers.jpeg_reader import JpegSlide
from wsi.remote import is_remote
from wsi.slide import Slide


def find_tiles(path: Path, slide: Slide) -> JpegTiles | None:
    """The JPEG tiles of the open `slide` at `path`; None where there are none.

    Those of every level, or, of an OME-Zarr image, of its finest levels.
    """
    if isinstance(slide, JpegSlide):
        return slide.tiles
    if is_remote(path):
        return None
    if path.is_dir():
        tiles = shard_tiles(path)
        sizes = tuple(level.dimensions for level in tiles.levels) if tiles else ()
        return tiles if sizes == slide.level_dimensions[: len(sizes)] else None
    if slide.vendor == "dicom":
        return dicom_tiles(path, slide)
    return tiff_tiles(path, slide)
