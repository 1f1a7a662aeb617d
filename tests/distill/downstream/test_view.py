"""What an encoder is shown: at its resolution, covering the whole image."""

import numpy as np
import pytest

from distill.downstream.view import View
from wsi.plan import TileSpec
from wsi.slide import Pixels

VIEW = View(spec=TileSpec(size_px=224, mpp=0.5))


def noise(height: int, width: int) -> Pixels:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize(
    ("shape", "mpp", "view", "tiles"),
    [
        ((224, 224), 0.5, VIEW, (1, 224)),
        ((522, 775), 0.62, VIEW, (3 * 5, 224)),  # 647 x 961
        ((27, 27), 0.55, VIEW, (1, 64)),  # 30 pixels
        ((27, 27), 0.55, View(spec=TileSpec(size_px=224, mpp=0.25)), (1, 64)),  # 59 pixels
        ((27, 27), 0.55, View(spec=TileSpec(size_px=224, mpp=0.5), magnify=4), (1, 128)),  # 119
        ((27, 27), 0.55, View(spec=TileSpec(size_px=224, mpp=0.5), any_size=False), (1, 224)),
        ((460, 700), 0.05, VIEW, (1, 96)),  # 46 x 70
        ((100, 500), 0.5, VIEW, (3, 224)),
    ],
)
def test_tiles(shape: tuple[int, int], mpp: float, view: View, tiles: tuple[int, int]) -> None:
    count, edge = tiles
    assert view.show(noise(*shape), mpp).shape == (count, edge, edge, 3)


def test_an_image_at_the_right_size_comes_as_it_is() -> None:
    image = noise(224, 224)
    np.testing.assert_array_equal(VIEW.show(image, 0.5)[0], image)


def test_tiles_cover_every_pixel_and_come_row_by_row() -> None:
    image = noise(300, 500)
    tiles = VIEW.show(image, 0.5)
    assert tiles.shape == (6, 224, 224, 3)
    np.testing.assert_array_equal(tiles[0], image[:224, :224])
    np.testing.assert_array_equal(tiles[2], image[:224, -224:])
    np.testing.assert_array_equal(tiles[-1], image[-224:, -224:])
    np.testing.assert_array_equal(tiles[1], image[:224, 138 : 138 + 224])


def test_a_small_image_is_mirrored_around_itself() -> None:
    image = noise(30, 30)
    (tile,) = VIEW.show(image, 0.5)
    np.testing.assert_array_equal(tile[17:47, 17:47], image)
    np.testing.assert_array_equal(tile[16, 17:47], image[0])
    np.testing.assert_array_equal(tile[0, 17:47], image[16])
    np.testing.assert_array_equal(tile[47, 17:47], image[-1])
