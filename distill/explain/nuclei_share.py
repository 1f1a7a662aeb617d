"""How much of a map lies on nuclei, beside how much of the image does."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class NucleiShare:
    """Shares in 0-1: of the attribution that lies inside nuclei, and of the area that does.

    `attribution` is NaN where a map has nothing that speaks for the score.
    """

    attribution: float
    area: float

    @property
    def ratio(self) -> float:
        """How many times as much as on an equal area of the whole image; NaN without nuclei."""
        return self.attribution / self.area if self.area else math.nan


def nuclei_share(attribution: NDArray[np.floating], nuclei: NDArray[np.bool_]) -> NucleiShare:
    """Measure one (H, W) map against a mask of the same shape.

    Only what speaks for the score counts: negative values would cancel others.
    """
    if attribution.shape != nuclei.shape:
        raise ValueError(f"a map of {attribution.shape} and nuclei of {nuclei.shape}")
    positive = np.clip(attribution.astype(np.float64), 0, None)
    total = positive.sum()
    return NucleiShare(
        attribution=float(positive[nuclei].sum() / total) if total else math.nan,
        area=float(nuclei.mean()),
    )
