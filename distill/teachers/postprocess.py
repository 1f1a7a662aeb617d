"""From nuclei maps to nuclei: a watershed that starts where distances rise as inside a nucleus.

After HoVer-Net (Graham et al., Medical Image Analysis 58:101563, 2019). Every threshold here is
absolute: nothing is scaled by what else is in the picture, so a nucleus comes out the same
whatever tile it is looked at in.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.segmentation import watershed

from distill.teachers.labelled import Instances

EIGHT = np.ones((3, 3), bool)


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """What is taken for a nucleus; lengths and areas are pixels of the maps.

    Attributes
    ----------
    nuclei
        Least probability of a nuclear pixel.
    border
        Fall of a distance, as a share of the full jump by −2, that counts as a border. Inside a
        nucleus distances only rise, so little is needed: a network blurs the jump between two
        that touch to a tenth of itself.
    core
        Greatest distance from the centre, 0-1, at which a nucleus may start.
    smooth_px
        Standard deviation of the Gaussian with which distances are differentiated.
    least_core_px, least_px
        Smaller cores, and smaller nuclei, are dropped.
    """

    nuclei: float = 0.5
    border: float = 0.04
    core: float = 0.75
    smooth_px: float = 2.0
    least_core_px: int = 20
    least_px: int = 30


def separate(maps: NDArray[np.float32], thresholds: Thresholds) -> Instances:
    """Number the nuclei in (3, H, W) maps of probability and distances: (H, W) int32."""
    mask = maps[0] >= thresholds.nuclei
    mask = ndimage.binary_fill_holes(_without_small(mask, thresholds.least_px))
    distances = np.clip(maps[1:], -1, 1) * mask
    border = border_strength(distances, thresholds.smooth_px)
    from_centre = np.abs(distances).max(axis=0)
    cores = mask & (border < thresholds.border) & (from_centre < thresholds.core)
    cores = _without_small(ndimage.binary_opening(cores), thresholds.least_core_px)
    markers, _ = ndimage.label(cores)
    nuclei: Instances = watershed(from_centre + border, markers, mask=mask)  # type: ignore[no-untyped-call]
    small = np.bincount(nuclei.ravel()) < thresholds.least_px
    nuclei[small[nuclei]] = 0
    return nuclei


def border_strength(distances: NDArray[np.float32], smooth_px: float) -> NDArray[np.float32]:
    """How abruptly (2, H, W) distances fall along their axis: 0 none, 1 from 1 to −1 at once."""
    full = 2 / (math.sqrt(2 * math.pi) * smooth_px)  # slope of the smoothed jump
    falls = [
        ndimage.gaussian_filter(distance, smooth_px, order=order)
        for distance, order in zip(distances, ((0, 1), (1, 0)), strict=True)
    ]
    return np.asarray(np.clip(-np.min(falls, axis=0) / full, 0, 1), np.float32)


def _without_small(mask: NDArray[np.bool_], least_px: int) -> NDArray[np.bool_]:
    parts, _ = ndimage.label(mask, structure=EIGHT)
    large = np.bincount(parts.ravel()) >= least_px
    large[0] = False
    return large[parts]
