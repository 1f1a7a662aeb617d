"""Integrated gradients: what each pixel adds on the straight way from a baseline to the image.

Sundararajan, Taly and Yan, "Axiomatic attribution for deep networks", ICML 2017. With x0 the
baseline,

    A = (x - x0) * integral over a from 0 to 1 of df/dx at x0 + a (x - x0)

summed over channels. The map is complete: its sum is f(x) - f(x0), up to the steps of the sum
that stands for the integral.
"""

import torch
from torch import Tensor

from distill.explain.score import Score, gradient


def integrated_gradients(score: Score, x: Tensor, baseline: Tensor, *, steps: int = 50) -> Tensor:
    """Attribute the score's difference to pixels: (B, H, W), signed.

    Parameters
    ----------
    x, baseline
        (B, 3, H, W) images, and where the way to each begins.
    steps
        Equal parts of the way; the slope is taken in the middle of each.

    Raises
    ------
    ValueError
        If there is no step.
    """
    if steps < 1:
        raise ValueError(f"steps = {steps}: at least one is needed")
    difference = x - baseline
    slope = torch.zeros_like(x)
    for step in range(steps):
        slope += gradient(score, baseline + difference * ((step + 0.5) / steps))
    return (difference * slope / steps).sum(1)


@torch.no_grad()
def completeness_gap(score: Score, x: Tensor, baseline: Tensor, maps: Tensor) -> Tensor:
    """How far each map's sum is from f(x) - f(baseline), (B,); 0 for an exact integral."""
    return maps.sum((1, 2)) - (score(x) - score(baseline))
