"""TIFFs that OpenSlide opens and shows wrongly, or fails at; tiffslide reads or refuses them.

Source: TIFF 6.0, sections 8 (Orientation), 15 (tiles) and 18 (ExtraSamples); tif_getimage.c and
tif_read.c of libtiff, which OpenSlide decodes with.
"""

from pathlib import Path
from typing import Any

import tifffile

ROUNDED_TO = 1024  # bytes, what libtiff takes an uncompressed tile's length to be


def is_misread(path: Path) -> bool:
    """Whether OpenSlide shows other pixels than those that the file at `path` stores.

    That is so where it turns each tile and leaves it in its place, or takes a fourth sample of
    unknown meaning for alpha; and it does not read uncompressed tiles of some sizes. Files that
    are no TIFF, or are malformed, are for the readers to judge.
    """
    try:
        with tifffile.TiffFile(path) as tiff:
            page: Any = next((p for p in tiff.pages if getattr(p, "is_tiled", False)), None)
            return page is not None and (
                not is_upright(page) or has_unknown_sample(page) or _has_odd_tiles(page)
            )
    except Exception:  # in a malformed file tifffile raises anything, and values have any type
        return False


def is_upright(page: Any) -> bool:
    """Whether a tifffile page is stored row by row from the top left."""
    orientation = page.tags.valueof("Orientation")
    return orientation is None or orientation == tifffile.ORIENTATION.TOPLEFT


def has_unknown_sample(page: Any) -> bool:
    """Whether a tifffile page has a fourth sample that is said to mean nothing known."""
    unknown = (tifffile.EXTRASAMPLE.UNSPECIFIED,)
    return bool(page.samplesperpixel == 4 and page.extrasamples == unknown)


def _has_odd_tiles(page: Any) -> bool:
    length = page.tilewidth * page.tilelength * page.samplesperpixel
    return bool(page.compression == tifffile.COMPRESSION.NONE and length % ROUNDED_TO)
