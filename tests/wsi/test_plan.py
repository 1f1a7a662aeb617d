"""A plan reads the resolution that was asked for, from the cheapest level that has it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsi.errors import ResolutionError
from wsi.plan import TOLERANCE, TileSpec, plan_read, reduction_of

pyramids = st.lists(st.floats(1.5, 4.5), max_size=6).map(
    lambda steps: tuple(_running_product([1.0, *steps]))
)


def _running_product(steps: list[float]) -> list[float]:
    product, out = 1.0, []
    for step in steps:
        product *= step
        out.append(product)
    return out


@given(
    size_px=st.integers(1, 1024),
    level0_mpp=st.floats(0.05, 20),
    ratio=st.floats(1 - TOLERANCE + 1e-9, 300),
    downsamples=pyramids,
)
def test_a_plan_is_exact_and_takes_the_coarsest_level_that_does_not_upsample(
    size_px: int, level0_mpp: float, ratio: float, downsamples: tuple[float, ...]
) -> None:
    spec = TileSpec(size_px=size_px, mpp=level0_mpp * ratio)
    plan = plan_read(spec, level0_mpp=level0_mpp, downsamples=downsamples)
    assert plan.level0_px * level0_mpp == pytest.approx(size_px * spec.mpp, rel=1e-12)
    assert plan.level_px * downsamples[plan.level] == pytest.approx(plan.level0_px, rel=1e-12)
    assert plan.level_px >= size_px * (1 - TOLERANCE) * (1 - 1e-12)
    if plan.level + 1 < len(downsamples):
        coarser_px = plan.level0_px / downsamples[plan.level + 1]
        assert coarser_px < size_px * (1 + TOLERANCE) ** -1 * (1 + 1e-12)


@pytest.mark.parametrize(
    ("mpp", "level", "level_px"),
    [
        (0.495, 0, 221.76),
        (0.5, 0, 224),
        (1.0, 0, 448),
        (1.97, 1, 220.64),
        (2.0, 1, 224),
        (8, 2, 224),
    ],
)
def test_levels_by_hand(mpp: float, level: int, level_px: float) -> None:
    plan = plan_read(TileSpec(size_px=224, mpp=mpp), level0_mpp=0.5, downsamples=(1.0, 4.0, 16.0))
    assert plan.level == level
    assert plan.level_px == pytest.approx(level_px)


def test_a_downsample_below_one_by_rounding_still_has_level_0() -> None:
    plan = plan_read(TileSpec(size_px=10, mpp=0.985), level0_mpp=1.0, downsamples=(1.01, 2.0))
    assert plan.level == 0


@given(level0_mpp=st.floats(0.05, 20), ratio=st.floats(0.01, 1 - TOLERANCE - 1e-9))
def test_it_refuses_to_upsample(level0_mpp: float, ratio: float) -> None:
    spec = TileSpec(size_px=224, mpp=level0_mpp * ratio)
    with pytest.raises(ResolutionError, match="upsampling would invent detail"):
        plan_read(spec, level0_mpp=level0_mpp, downsamples=(1.0, 4.0))


@pytest.mark.parametrize(("size_px", "mpp"), [(0, 0.5), (-1, 0.5), (224, 0.0), (224, -1.0)])
def test_a_spec_is_positive(size_px: int, mpp: float) -> None:
    with pytest.raises(ValueError, match="must be positive"):
        TileSpec(size_px=size_px, mpp=mpp)


@given(ratio=st.floats(1 - TOLERANCE + 1e-9, 300), downsamples=pyramids)
def test_a_reduction_is_the_largest_power_of_two_that_does_not_upsample(
    ratio: float, downsamples: tuple[float, ...]
) -> None:
    spec = TileSpec(size_px=224, mpp=ratio)
    plan = plan_read(spec, level0_mpp=1.0, downsamples=downsamples)
    reduction = reduction_of(spec, plan)
    assert reduction in (1, 2, 4, 8)
    left = plan.level_px / spec.size_px / reduction
    assert left >= (1 - TOLERANCE) * (1 - 1e-12)
    assert reduction == 8 or left < 2 / (1 + TOLERANCE) * (1 + 1e-12)


@pytest.mark.parametrize(
    ("level0_mpp", "mpp", "level", "reduction"),
    [
        (0.25, 0.25, 0, 1),
        (0.25, 0.48, 0, 1),
        (0.25, 0.5, 0, 2),
        (0.2523, 0.5, 0, 2),
        (0.25, 0.9, 0, 2),
        (0.25, 1.0, 1, 1),
        (0.25, 2.0, 1, 2),
    ],
)
def test_a_20x_tile_from_a_40x_slide_is_level_0_halved(
    level0_mpp: float, mpp: float, level: int, reduction: int
) -> None:
    spec = TileSpec(size_px=224, mpp=mpp)
    plan = plan_read(spec, level0_mpp=level0_mpp, downsamples=(1.0, 4.0, 16.0))
    assert (plan.level, reduction_of(spec, plan)) == (level, reduction)
