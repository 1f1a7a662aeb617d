"""Nuclei maps in a byte a value: 48 kB for the maps of a 256-pixel tile, before compression."""

import numpy as np
from numpy.typing import NDArray

PROBABILITY_STEPS = 255
DISTANCE_STEPS = 127
# Half a step: what a value can be off by after `dequantise`.
PROBABILITY_ERROR = 0.5 / PROBABILITY_STEPS
DISTANCE_ERROR = 0.5 / DISTANCE_STEPS


def quantise(maps: NDArray[np.floating]) -> tuple[NDArray[np.uint8], NDArray[np.int8]]:
    """(B, 3, H, W) probability and distances to (B, H, W) uint8 and (B, 2, H, W) int8.

    Raises
    ------
    ValueError
        If a probability is not in 0-1 or a distance not in −1 to 1.
    """
    probability, distances = maps[:, 0], maps[:, 1:]
    # Written so that a value that is no number fails too.
    if not ((probability >= 0) & (probability <= 1)).all():
        raise ValueError(f"nuclei probability in 0-1 is wanted, got {_range(probability)}")
    if not (np.abs(distances) <= 1).all():
        raise ValueError(f"distances in −1 to 1 are wanted, got {_range(distances)}")
    return (
        np.rint(probability * PROBABILITY_STEPS).astype(np.uint8),
        np.rint(distances * DISTANCE_STEPS).astype(np.int8),
    )


def dequantise(nuclei: NDArray[np.uint8], distances: NDArray[np.int8]) -> NDArray[np.float32]:
    """What `quantise` was given, but for `PROBABILITY_ERROR` and `DISTANCE_ERROR`."""
    maps = np.empty((len(nuclei), 3, *nuclei.shape[1:]), np.float32)
    np.divide(nuclei, PROBABILITY_STEPS, out=maps[:, 0], dtype=np.float32)
    np.divide(distances, DISTANCE_STEPS, out=maps[:, 1:], dtype=np.float32)
    return maps


def _range(values: NDArray[np.floating]) -> str:
    return f"{values.min():.3g} to {values.max():.3g}"
