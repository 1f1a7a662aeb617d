"""What all methods explain: one number an image."""

from collections.abc import Callable

import torch
from torch import Tensor

Score = Callable[[Tensor], Tensor]
"""Maps (B, 3, H, W) images to (B,) scores, each image's from its own pixels alone.

A network is in evaluation mode: statistics of a batch would mix the images.
"""


def gradient(score: Score, x: Tensor) -> Tensor:
    """The score's derivative at each image: (B, 3, H, W)."""
    at = x.detach().requires_grad_()
    with torch.enable_grad():
        total = score(at).sum()  # images do not mix, so each keeps its own derivative
        (slope,) = torch.autograd.grad(total, at)
    return slope
