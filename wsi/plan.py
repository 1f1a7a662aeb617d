"""How a tile asked for in micrometres is read from a pyramid in pixels."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from wsi.errors import ResolutionError

TOLERANCE = 0.02  # ours: 0.2500 and 0.2527 µm per pixel are sold as one magnification


@dataclass(frozen=True, slots=True, kw_only=True)
class TileSpec:
    """What a model wants to see: `size_px` pixels square at `mpp` µm per pixel."""

    size_px: int
    mpp: float

    def __post_init__(self) -> None:
        if self.size_px < 1 or not 0 < self.mpp < math.inf:
            raise ValueError(f"size_px and mpp must be positive, got {self}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadPlan:
    """How tiles are read: from which level, and a tile's exact edge there and at level 0.

    The edges are not rounded, so the resolution is the one asked for and tile k of a row does
    not drift: rounding happens once, when a coordinate is made.
    """

    level: int
    level_px: float
    level0_px: float


def plan_read(
    spec: TileSpec, *, level0_mpp: float, downsamples: Sequence[float], enlarged: float = 1.0
) -> ReadPlan:
    """Choose the coarsest level that serves `spec` without upsampling beyond `TOLERANCE`.

    Parameters
    ----------
    spec
        The tile as the model sees it.
    level0_mpp
        Resolution of level 0, µm per pixel.
    downsamples
        Level-0 pixels per pixel of each level, finest first: ``(1.0, 4.0, 16.0)``.
    enlarged
        How many times level 0 may be enlarged, for models that were seen to bear it.

    Raises
    ------
    ResolutionError
        If `spec.mpp` is finer than `level0_mpp` by more than `enlarged` and `TOLERANCE`.

    Examples
    --------
    >>> plan_read(TileSpec(size_px=224, mpp=0.5), level0_mpp=0.25, downsamples=(1.0, 4.0))
    ReadPlan(level=0, level_px=448.0, level0_px=448.0)
    """
    wanted = spec.mpp / level0_mpp
    if wanted * enlarged < 1 - TOLERANCE:
        raise ResolutionError(
            f"the model looks at {spec.mpp:g} µm per pixel and the slide's finest level has "
            f"{level0_mpp:g}: upsampling would invent detail, use a model made for {level0_mpp:g}"
        )
    level = max(i for i, d in enumerate(downsamples) if i == 0 or d <= wanted * (1 + TOLERANCE))
    level0_px = spec.size_px * wanted
    return ReadPlan(level=level, level_px=level0_px / downsamples[level], level0_px=level0_px)


def reduction_of(spec: TileSpec, plan: ReadPlan) -> int:
    """By how much the plan's level can be reduced before resampling: 1, 2, 4 or 8.

    The largest that leaves the resolution that `spec` wants, within `TOLERANCE`. Scanners store
    every fourth level at 40×, so a model for 20× reads level 0 halved.

    Examples
    --------
    >>> spec = TileSpec(size_px=224, mpp=0.5)
    >>> reduction_of(spec, plan_read(spec, level0_mpp=0.2527, downsamples=(1.0, 4.0)))
    2
    """
    ratio = plan.level_px / spec.size_px * (1 + TOLERANCE)
    return max(n for n in (1, 2, 4, 8) if n == 1 or n <= ratio)
