"""What is planned covers every pixel of every level exactly once, and says it in small parts."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from wsi.jpeg.find import find_tiles
from wsi.jpeg.tiles import JpegTiles
from wsi.open import open_slide
from wsi.pyramid.options import PyramidOptions
from wsi.pyramid.plan import BlockPart, CopyPart, PyramidPlan, plan_pyramid


@pytest.fixture
def tiles(synthetic: Any) -> JpegTiles:
    with open_slide(synthetic.path) as slide:
        found = find_tiles(synthetic.path, slide)
    assert found is not None
    return found


def plan(path: Path, tiles: JpegTiles | None, **options: Any) -> PyramidPlan:
    with open_slide(path) as slide:
        return plan_pyramid(slide, PyramidOptions(**options), tiles)


def test_the_slides_own_levels_are_kept_and_those_below_added(
    synthetic: Any, tiles: JpegTiles
) -> None:
    planned = plan(synthetic.path, tiles, coarsest_px=200)
    assert planned.sizes == ((1500, 1301), (375, 325), (188, 163))
    assert planned.downsamples == pytest.approx((1, 4.0015, 8.003), rel=1e-4)
    assert set(planned.copied) == {"0", "1"}
    (chain,) = planned.chains
    assert (chain.source_level, chain.names) == (1, ("1", "2"))


def test_levels_between_are_filled_when_asked_for(synthetic: Any, tiles: JpegTiles) -> None:
    planned = plan(synthetic.path, tiles, fill_levels=True)
    assert planned.sizes == ((1500, 1301), (750, 651), (375, 325))
    assert set(planned.copied) == {"0", "2"}
    assert planned.storage.codec == "jpeg"


def test_without_tiles_each_level_is_half_the_one_before(synthetic: Any) -> None:
    planned = plan(synthetic.path, None)
    assert planned.sizes == ((1500, 1301), (750, 651), (375, 326))
    assert (planned.codec, planned.copied) == ("zstd", {})


def test_copied_parts_hold_every_tile_once(
    synthetic: Any, tiles: JpegTiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wsi.jpeg.copy.SHARD_PX", 512)
    planned = plan(synthetic.path, tiles)
    parts = [part for part in planned.parts() if isinstance(part, CopyPart)]
    assert len({part.part_id for part in parts}) == len(parts)
    for name, level in planned.copied.items():
        seen = np.concatenate([part.tiles.offsets for part in parts if part.name == name])
        assert sorted(seen.tolist()) == sorted(level.offsets.tolist())
        for part in parts:
            if part.name == name:
                top, left = part.first
                assert part.tiles.offsets[0] == level.offsets[top * level.grid[0] + left]


@pytest.mark.parametrize("size", [(300, 200), (4096, 4096), (4097, 8193)])
def test_blocks_hold_every_pixel_once(
    array_slide: Callable[[Any], Any], size: tuple[int, int]
) -> None:
    slide = array_slide(np.zeros((size[1], size[0], 3), np.uint8))
    planned = plan_pyramid(slide, PyramidOptions(), None)
    blocks = {part.block for part in planned.parts() if isinstance(part, BlockPart)}
    assert len(blocks) == -(-size[0] // 4096) * -(-size[1] // 4096)


def test_a_part_travels(synthetic: Any, tiles: JpegTiles) -> None:
    for found in (tiles, None):
        for part in plan(synthetic.path, found).parts():
            arrived = pickle.loads(pickle.dumps(part))
            assert arrived.part_id == part.part_id
            assert len(pickle.dumps(part)) < 60_000


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"quality": 101}, "quality must be in 1-100, got 101"),
        ({"ngff": "0.4"}, "choose zstd or blosc"),
        ({"ngff": "0.4", "codec": "jpeg"}, "choose zstd or blosc"),
        ({"fill_levels": True, "codec": "zstd"}, "makes every level anyway"),
        ({"block_px": 512}, "block_px must be 2, 4, 8"),
        ({"block_px": 1536}, "block_px must be 2, 4, 8"),
    ],
)
def test_options_that_contradict_each_other(options: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        PyramidOptions(**options)
