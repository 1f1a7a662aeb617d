"""What a made-up slide is of: a seed, a size, a disease, a stain."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Self

import numpy as np


@dataclass(frozen=True, slots=True, kw_only=True)
class Stain:
    """How one laboratory stained and one scanner saw a slide.

    Colours are optical densities in red, green, blue for one unit of dye (Beer-Lambert).
    """

    haematoxylin: tuple[float, float, float]
    eosin: tuple[float, float, float]
    haematoxylin_strength: float
    eosin_strength: float
    white: tuple[int, int, int]  # light through empty glass, 0-255
    softness: float  # share of a pixel's light that comes from each side neighbour, 0-0.33
    noise: float  # standard deviation of the density, in units of dye

    @classmethod
    @lru_cache(maxsize=64)
    def vary(cls, seed: int) -> Self:
        """Draw a plausible stain: the batch effect of slide `seed`."""
        rng = np.random.default_rng((seed & 0xFFFFFFFF, 0x57A1))
        red, green, blue = rng.uniform((0.56, 0.62, 0.26), (0.74, 0.74, 0.44))
        red_e, green_e, blue_e = rng.uniform((0.04, 0.86, 0.30), (0.13, 0.98, 0.62))
        grey = int(rng.integers(241, 246))
        tint = rng.integers(-2, 2, 3)
        return cls(
            haematoxylin=(float(red), float(green), float(blue)),
            eosin=(float(red_e), float(green_e), float(blue_e)),
            haematoxylin_strength=float(rng.uniform(0.8, 1.25)),
            eosin_strength=float(rng.uniform(0.7, 1.2)),
            white=(grey + int(tint[0]), grey + int(tint[1]), grey + int(tint[2])),
            softness=float(rng.uniform(0.06, 0.28)),
            noise=float(rng.uniform(0.01, 0.05)),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Specimen:
    """A made-up specimen: everything its pixels depend on.

    `width` and `height` are level-0 pixels of `mpp` µm. `pen` draws a stroke of marker over
    part of the tissue, `blur` throws an area of it out of focus. Without a `stain`, one is
    drawn from `seed`.
    """

    seed: int
    width: int
    height: int
    mpp: float = 0.5
    tumour: bool = False
    pen: bool = False
    blur: bool = False
    stain: Stain | None = None

    def __post_init__(self) -> None:
        if self.width < 1 or self.height < 1 or self.mpp <= 0:
            raise ValueError(f"width, height and mpp must be positive, got {self}")

    @property
    def staining(self) -> Stain:
        """The stain to render with."""
        return self.stain or Stain.vary(self.seed)

    def salt(self, which: int) -> int:
        """The seed of one of its noises, `which` under 4096: no two share numbers."""
        return self.seed * 4099 + which
