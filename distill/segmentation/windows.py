"""Class probabilities over any area: overlapping windows on one lattice, blended where they meet.

The lattice begins at the corner of the slide or image, not of what is asked for, and a window's
answer depends on its own pixels only. So a pixel gets the same probabilities whichever area it is
asked for with: cutting a slide into blocks leaves no seam.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wsi.slide import Pixels

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lattice:
    """Windows of `window_px`, `stride_px` apart along each axis.

    Window k is blended in over `ramp_px` before pixel k × `stride_px`, and out over the last
    `ramp_px` before pixel (k + 1) × `stride_px`, where the next one is blended in. What it sees
    around that, `margin_px` on each side, is context only.

    Attributes
    ----------
    window_px
        A multiple of 32.
    """

    window_px: int = 512
    margin_px: int = 32
    ramp_px: int = 64

    def __post_init__(self) -> None:
        if self.window_px % 32 or self.stride_px < self.ramp_px:
            raise ValueError(f"windows must be a multiple of 32 and hold both ramps, got {self}")

    @property
    def stride_px(self) -> int:
        """From one window to the next."""
        return self.window_px - self.ramp_px - 2 * self.margin_px

    @property
    def before_px(self) -> int:
        """How far window k begins before pixel k × `stride_px`."""
        return self.ramp_px + self.margin_px

    def windows(self, length: int) -> int:
        """How many windows reach into `length` pixels that begin where a window's stride does."""
        return max(1, -(-(length + self.ramp_px) // self.stride_px))

    def seen(self, length: int) -> int:
        """How many pixels those windows see."""
        return (self.windows(length) - 1) * self.stride_px + self.window_px

    def weights(self) -> Floats:
        """The weight of each kept pixel along an axis, (`stride_px` + `ramp_px`,).

        A raised cosine up and down; with the next window's it sums to 1.
        """
        up = 0.5 - 0.5 * np.cos(np.pi * (np.arange(self.ramp_px) + 0.5) / self.ramp_px)
        flat = np.ones(self.stride_px - self.ramp_px)
        return np.concatenate([up, flat, 1 - up]).astype(np.float32)


def blend_rows(
    answer: Callable[[Pixels], Floats],
    pixels: Pixels,
    lattice: Lattice,
    *,
    shape: tuple[int, int],
    outputs: int,
    looked: NDArray[np.bool_] | None = None,
) -> Iterator[tuple[int, Floats]]:
    """Yield an area's probabilities a strip at a time: its first row, and (K, rows, W).

    Parameters
    ----------
    answer
        Maps a window (S, S, 3) to probabilities (K, S, S).
    pixels
        What the windows see: from `Lattice.before_px` above and left of the area on,
        `Lattice.seen` of each length.
    shape
        (height, width) of the area, which begins where a window's stride does.
    outputs
        K.
    looked
        (rows, columns) of windows to answer; the others give 0, and so less than 1 in all.
    """
    height, width = shape
    rows, columns = (lattice.windows(length) for length in shape)
    along = lattice.weights()
    weights = along[:, None] * along[None]
    stride, ramp, kept = lattice.stride_px, lattice.ramp_px, len(along)
    margin = slice(lattice.margin_px, lattice.margin_px + kept)
    # Column 0 of the strip is `ramp` pixels before the area, where the first window blends in.
    strip = np.zeros((outputs, kept, (columns - 1) * stride + kept), np.float32)
    for row in range(rows):
        for column in range(columns):
            if looked is not None and not looked[row, column]:
                continue
            top, left = row * stride, column * stride
            window = pixels[top : top + lattice.window_px, left : left + lattice.window_px]
            probs = answer(window)[:, margin, margin]
            strip[:, :, left : left + kept] += probs * weights
        first = max(row * stride - ramp, 0)
        last = min((row + 1) * stride - ramp, height)
        if first < last:
            begin = first - (row * stride - ramp)
            done = strip[:, begin : begin + last - first, ramp : ramp + width]
            yield first, done.copy()
        strip[:, :ramp] = strip[:, stride:]
        strip[:, ramp:] = 0
