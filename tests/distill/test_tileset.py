"""Tiles to pretrain on: context, and splits that no image is on both sides of."""

import numpy as np
import pytest

from distill.tileset import TileSet, evenly, join, share_of
from wsi.plan import TileSpec

SPEC = TileSpec(size_px=8, mpp=0.5)


def tiles(sources: list[int], context_px: int = 0, *, labelled: bool = False) -> TileSet:
    edge = 8 + 2 * context_px
    generator = np.random.default_rng(len(sources))
    return TileSet(
        seen=generator.integers(0, 256, (len(sources), edge, edge, 3), np.uint8),
        sources=np.array(sources),
        spec=SPEC,
        context_px=context_px,
        instances=generator.integers(0, 5, (len(sources), edge, edge)) if labelled else None,
    )


def test_no_source_is_on_both_sides_and_every_tile_is_on_one() -> None:
    some = tiles([s for s in range(30) for _ in range(s % 4 + 1)])
    kept, held_out = some.split(0)
    assert sorted([*kept, *held_out]) == list(range(len(some)))
    assert not set(some.sources[kept]) & set(some.sources[held_out])
    assert len(set(some.sources[held_out])) == 3
    same, other = some.split(0), some.split(1)
    np.testing.assert_array_equal(same[1], held_out)
    assert set(some.sources[other[1]]) != set(some.sources[held_out])


def test_of_one_source_tiles_are_held_out() -> None:
    kept, held_out = tiles([7] * 20).split(0)
    assert (len(kept), len(held_out)) == (18, 2)


def test_the_tile_is_the_middle_of_what_is_seen() -> None:
    some = tiles([0, 1], context_px=3)
    assert some.pixels.shape == (2, 8, 8, 3)
    np.testing.assert_array_equal(some.pixels[1, 0, 0], some.seen[1, 3, 3])
    assert np.shares_memory(some.pixels, some.seen)


def test_sources_of_joined_sets_stay_apart() -> None:
    both = join([tiles([0, 0, 1]), tiles([0, 2])])
    assert both.sources.tolist() == [0, 0, 1, 2, 4]
    assert len(both) == 5
    assert both.instances is None


def test_labels_are_kept_where_all_have_some() -> None:
    labelled = tiles([0], labelled=True)
    assert join([labelled, labelled]).instances is not None
    assert join([labelled, tiles([0])]).instances is None
    with pytest.raises(ValueError, match="tiles of several kinds"):
        join([tiles([0]), tiles([0], context_px=2)])
    with pytest.raises(ValueError, match="do not fit"):
        TileSet(seen=labelled.seen, sources=labelled.sources, spec=SPEC, context_px=1)


def test_a_smaller_share_is_part_of_a_larger_one() -> None:
    index = np.arange(100, 300)
    tenth, quarter, whole = (set(share_of(index, share, 0).tolist()) for share in (0.1, 0.25, 1.0))
    assert tenth < quarter < whole == set(index.tolist())
    assert (len(tenth), len(quarter)) == (20, 50)
    assert tenth != set(share_of(index, 0.1, 1).tolist())
    assert len(share_of(index[:3], 0.1, 0)) == 1


@pytest.mark.parametrize("count", [256, 300, 511, 5000])
def test_what_is_measured_is_spread_over_all_that_is_held_out(count: int) -> None:
    held_out = np.arange(count) * 3
    chosen = evenly(held_out, 256, seed=4)
    assert len(set(chosen.tolist()) & set(held_out.tolist())) == 256
    by_tenth = np.histogram(chosen, bins=10, range=(0, 3 * count))[0]
    assert by_tenth.min() >= 24
    np.testing.assert_array_equal(chosen, evenly(held_out, 256, seed=4))
    assert (chosen != evenly(held_out, 256, seed=5)).any() == (count > 256)
    np.testing.assert_array_equal(evenly(held_out[:7], 256, seed=4), held_out[:7])
