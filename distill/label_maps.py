"""Labels of tiles as maps: what a teacher without error would answer."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from distill.appearance import appearance_of_nuclei
from distill.errors import ObjectiveError
from distill.nuclei_net import OUTPUT_STRIDE
from distill.targets import nuclei_maps, number_parts, reduce_maps
from distill.tileset import TileSet


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelMaps:
    """Maps of all tiles, (N, 8, S/2, S/2), as `Responses` has them."""

    maps: NDArray[np.float32]

    def read(self, index: NDArray[np.integer]) -> NDArray[np.float32]:
        """(B, 8, S/2, S/2) maps."""
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
    mpp = tiles.spec.mpp * OUTPUT_STRIDE
    maps = []
    for instances, pixels in zip(tiles.instances, tiles.seen, strict=True):
        labels = number_parts(instances)  # the context beyond an image's edge is mirrored
        coarse = labels[::OUTPUT_STRIDE, ::OUTPUT_STRIDE]
        where = reduce_maps(nuclei_maps(labels), OUTPUT_STRIDE)
        maps.append(np.concatenate([where, appearance_of_nuclei(coarse, pixels, mpp=mpp)]))
    return LabelMaps(maps=np.stack(maps)[:, :, margin:end, margin:end])
