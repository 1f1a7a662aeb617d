"""Levels made by halving: their sizes, and the exact average of 2 x 2 pixels."""

import numpy as np

from wsi.slide import Pixels

STRIP_PX = 128  # rows halved at a time, so that the sums stay in the processor's cache


def halvings(dimensions: tuple[int, int], *, coarsest_px: int) -> list[tuple[int, int]]:
    """(width, height) of a level and of its halvings, down to one that fits `coarsest_px`.

    Examples
    --------
    >>> halvings((1100, 900), coarsest_px=512)
    [(1100, 900), (550, 450), (275, 225)]
    """
    sizes = [dimensions]
    while max(sizes[-1]) > coarsest_px:
        width, height = sizes[-1]
        sizes.append((-(-width // 2), -(-height // 2)))
    return sizes


def halve(pixels: Pixels) -> Pixels:
    """Average 2 x 2 pixels of (C, H, W) uint8, rounding halves up.

    In an odd last row or column the average is of the pixels there are.
    """
    channels, height, width = pixels.shape
    if height % 2 or width % 2:
        pixels = np.pad(pixels, ((0, 0), (0, height % 2), (0, width % 2)), mode="edge")
    # Two neighbours are read as one 16-bit number, which is several times as fast as slicing.
    pairs = np.ascontiguousarray(pixels).view(np.uint16)
    halved = np.empty((channels, pixels.shape[1] // 2, pixels.shape[2] // 2), np.uint8)
    for channel in range(channels):
        for top in range(0, pixels.shape[1], STRIP_PX):
            strip = pairs[channel, top : top + STRIP_PX]
            sums = (strip & np.uint16(255)) + (strip >> np.uint16(8))
            fours = sums[0::2] + sums[1::2]
            fours += np.uint16(2)
            halved[channel, top // 2 : (top + STRIP_PX) // 2] = fours >> np.uint16(2)
    return halved
