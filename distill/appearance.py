"""What nuclei look like: the second half of a teacher's response, beside where they are.

A nuclei map says where nuclei lie, which a few fine features tell. What tells one kind of nucleus
from another is its size, its shape, its stain and its chromatin, all of which a nuclear grade is
made of. They are measured on the nuclei that a response shows and written on their pixels, so
that a student can be taught them anywhere; its coarsest features, of which an embedding is the
average, are what has to know them.
"""

import math

import numpy as np
from numpy.typing import NDArray

from distill.teachers.labelled import Instances
from distill.teachers.measure import measure
from distill.teachers.postprocess import Thresholds, separate
from wsi.slide import Pixels

# What is taught, with the mean and the standard deviation to standardise by: rounded from 10,000
# nuclei of skin, colon and cultured tissue (CMU-1, CRC-VAL-HE-7K, DSB 2018).
STANDARD = {
    "size": (4.1, 1.1),  # logarithm of the area in µm²
    "roundness": (0.58, 0.18),  # minor over major axis
    "haematoxylin": (1.1, 0.5),
    "eosin": (0.6, 0.35),
    "chromatin": (0.15, 0.08),  # how much the optical density varies inside
}
APPEARANCE = tuple(STANDARD)
MOST = 3.0  # standard deviations; what is further off counts as this
STEPS = 40  # a standard deviation is cut into
NOT_NUCLEAR = -128  # stored where there is no nucleus
LEAST_UM2 = 6.0  # smaller nuclei are specks


def appearance_of_response(
    maps: NDArray[np.float32], pixels: Pixels, *, mpp: float
) -> NDArray[np.float32]:
    """What the nuclei of a response look like: see `appearance_of_nuclei`.

    Parameters
    ----------
    maps
        (3, H, W) probability and distances.
    pixels
        (k H, k W, 3) uint8: the tile at the maps' resolution or at a multiple k of it.
    mpp
        µm per pixel of the maps.
    """
    least = Thresholds(least_px=max(1, round(LEAST_UM2 / mpp**2)))
    return appearance_of_nuclei(separate(maps, least), pixels, mpp=mpp)


def appearance_of_nuclei(nuclei: Instances, pixels: Pixels, *, mpp: float) -> NDArray[np.float32]:
    """(5, H, W) standardised `APPEARANCE` of the nucleus each pixel of (H, W) labels belongs to.

    NaN outside nuclei. `pixels` and `mpp` as for `appearance_of_response`.
    """
    nuclei = np.maximum(nuclei, 0)  # which nucleus a pixel belongs to may be unknown
    height, width = nuclei.shape
    factor = len(pixels) // height
    blocks = pixels.reshape(height, factor, width, factor, 3)
    reduced = np.rint(blocks.mean((1, 3))).astype(np.uint8)
    known = measure(nuclei, reduced, mpp=mpp)
    columns = (
        np.log(known.area_um2),
        known.minor_axis_um / np.maximum(known.major_axis_um, mpp),
        known.haematoxylin_od,
        known.eosin_od,
        known.spread_od,
    )
    by_label = np.full((len(columns), int(nuclei.max(initial=0)) + 1), np.nan, np.float32)
    present = np.unique(nuclei[nuclei > 0])
    for row, column, (mean, spread) in zip(by_label, columns, STANDARD.values(), strict=True):
        row[present] = np.clip((column - mean) / spread, -MOST, MOST)
    return by_label[:, nuclei]


def quantise_appearance(appearance: NDArray[np.float32]) -> NDArray[np.int8]:
    """A byte a value, for what `appearance_of_nuclei` gives."""
    steps = np.rint(appearance * STEPS)
    return np.where(np.isnan(steps), NOT_NUCLEAR, steps).astype(np.int8)


def dequantise_appearance(stored: NDArray[np.int8]) -> NDArray[np.float32]:
    """What `quantise_appearance` was given, but for half a step."""
    values = stored.astype(np.float32) / np.float32(STEPS)
    values[stored == NOT_NUCLEAR] = math.nan
    return np.asarray(values, np.float32)
