"""Where a model looked, and why it did not elsewhere: a label for every cell of a heatmap."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from wsi.labels import Rgba
from wsi.quality import MEASURES
from wsi.raster import RasterFrame, first_over
from wsi.tilestore import TileTable

LABEL = "looked"  # in the heatmap's `labels`
NO_TILE, LOOKED = 0, 1
QUALITY = {"pen": "pen ink", "dark": "too dark", "blank": "blank", "focus": "blurred"}
NAMES: Mapping[int, str] = dict(
    enumerate(
        (
            "no tile with enough tissue",
            "looked at",
            *(QUALITY[measure] for measure in MEASURES),
            "unreadable",
        )
    )
)
UNREADABLE = len(NAMES) - 1
# Okabe and Ito's colours, apart for the colour blind too; where a model looked nothing is hidden.
COLOURS: Mapping[int, Rgba] = {
    0: (0, 0, 0, 0),
    1: (0, 158, 115, 64),
    2: (0, 114, 178, 160),
    3: (0, 0, 0, 160),
    4: (204, 121, 167, 160),
    5: (230, 159, 0, 160),
    6: (213, 94, 0, 160),
}


def looked_at(tiles: TileTable, frame: RasterFrame) -> NDArray[np.uint8]:
    """A label of `NAMES` for every cell, (rows, columns), by the tiles that cover its centre.

    One that was looked at goes before those left out, of which the first measure counts, and
    these before those that did not decode. Elsewhere there is no tile: too little tissue, where
    what lies outside the slide counts as none.
    """
    left_out = tiles.left_out
    groups = [
        tiles.coords,
        *(left_out.coords[left_out.reason == index] for index in range(len(MEASURES))),
        tiles.invalid,
    ]
    return first_over(groups, tile_level0_px=tiles.tile_level0_px, frame=frame)


def reasons(looked: NDArray[np.uint8]) -> list[str]:
    """Why there are cells that were not looked at: the names that occur, in their order."""
    return [NAMES[label] for label in np.unique(looked).tolist() if label != LOOKED]
