"""Labels of tiles as maps: what a teacher without error would answer."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from distill.errors import ObjectiveError
from distill.nuclei_net import OUTPUT_STRIDE
from distill.targets import nuclei_maps, reduce_maps
from distill.tileset import TileSet


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelMaps:
    """Maps of all tiles, (N, 3, S/2, S/2)."""

    maps: NDArray[np.float32]

    def read(self, index: NDArray[np.integer]) -> NDArray[np.float32]:
        """(B, 3, S/2, S/2) maps."""
        return np.take(self.maps, index, axis=0)


def label_maps(tiles: TileSet) -> LabelMaps:
    """The maps of labelled tiles, without their context.

    Raises
    ------
    ObjectiveError
        If the tiles are not labelled.
    """
    if tiles.instances is None:
        raise ObjectiveError("supervised-nuclei needs tiles with labels of nuclei")
    margin = tiles.context_px // OUTPUT_STRIDE
    end = tiles.instances.shape[1] // OUTPUT_STRIDE - margin
    maps = [reduce_maps(nuclei_maps(labels), OUTPUT_STRIDE) for labels in tiles.instances]
    return LabelMaps(maps=np.stack(maps)[:, :, margin:end, margin:end])
