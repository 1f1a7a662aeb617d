"""Labels as maps: of each nucleus that lies in a tile, those it would have alone."""

import numpy as np
from numpy.typing import NDArray

from distill.label_maps import label_maps
from distill.tileset import TileSet
from wsi.plan import TileSpec

DISC = np.hypot(*np.mgrid[-6:7, -6:7]) <= 6


def maps_of(instances: NDArray[np.int32]) -> NDArray[np.float32]:
    tiles = TileSet(
        seen=np.full((1, 64, 64, 3), 200, np.uint8),
        sources=np.zeros(1, np.int64),
        spec=TileSpec(size_px=32, mpp=0.5),
        context_px=16,
        instances=instances[None],
    )
    return label_maps(tiles).read(np.array([0]))[0]


def test_a_nucleus_and_its_mirror_image_have_a_centre_each() -> None:
    """The tile begins at the image's edge, and its context is the tile mirrored there."""
    image = np.zeros((64, 48), np.int32)
    image[20:33, 4:17][DISC] = 7
    mirrored = np.pad(image, ((0, 0), (16, 0)), mode="symmetric")
    numbered = mirrored.copy()
    numbered[:, :16][numbered[:, :16] > 0] = 8
    assert (numbered == 8).any()
    expected = maps_of(numbered)
    assert expected[1].min() < -0.8  # the nucleus's left end lies in the tile
    np.testing.assert_array_equal(maps_of(mirrored), expected)
