"""Occlusion: how much the score falls when a window is hidden.

Zeiler and Fergus, "Visualizing and understanding convolutional networks", ECCV 2014. With r a
window, x a tile and x_r the tile with the baseline in the window,

    A(r) = f(x) - f(x_r)

and a pixel has the mean of A over the windows that cover it.
"""

from itertools import product

import torch
from torch import Tensor

from distill.explain.score import Score


@torch.no_grad()
def occlusion(
    score: Score,
    x: Tensor,
    baseline: Tensor,
    *,
    window_px: int,
    stride_px: int | None = None,
    batch_size: int = 32,
) -> Tensor:
    """Slide a window over each image: (B, H, W), positive where hiding lowers the score.

    Parameters
    ----------
    x, baseline
        (B, 3, H, W) images, and what is put into the window.
    window_px, stride_px
        Edge of the window and its step, by default half the edge. The last window of a row ends
        at the image's edge, whatever the step.
    batch_size
        Images scored together.

    Raises
    ------
    ValueError
        If the window is larger than the image, or the step leaves pixels out.
    """
    height, width = x.shape[2:]
    step = max(1, window_px // 2) if stride_px is None else stride_px
    if not 1 <= step <= window_px <= min(height, width):
        raise ValueError(
            f"window_px = {window_px} and stride_px = {step} on an image of {height} x {width}: "
            "the window fits the image and the step is at most the window"
        )
    corners = list(product(_starts(height, window_px, step), _starts(width, window_px, step)))
    total, count = x.new_zeros(len(x), height, width), x.new_zeros(height, width)
    for top, left in corners:
        count[top : top + window_px, left : left + window_px] += 1
    whole = score(x)
    for image, stand_in, unhidden, out in zip(x, baseline, whole, total, strict=True):
        for first in range(0, len(corners), batch_size):
            some = corners[first : first + batch_size]
            hidden = image.repeat(len(some), 1, 1, 1)
            boxes = [
                (slice(top, top + window_px), slice(left, left + window_px)) for top, left in some
            ]
            for one, box in zip(hidden, boxes, strict=True):
                one[:, *box] = stand_in[:, *box]
            for box, fall in zip(boxes, unhidden - score(hidden), strict=True):
                out[box] += fall
    return total / count


def _starts(length: int, window: int, step: int) -> list[int]:
    return [*range(0, length - window, step), length - window]
