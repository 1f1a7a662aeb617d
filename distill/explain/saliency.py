"""Gradient saliency: how strongly the score answers to a small change of each pixel.

Simonyan, Vedaldi and Zisserman, "Deep inside convolutional networks", ICLR workshop 2014:

    map = max over channels |df / dx|

SmoothGrad (Smilkov et al., 2017, arXiv 1706.03825) averages it over copies with noise, because
the derivative of a piecewise linear network jumps from pixel to pixel.
"""

import torch
from torch import Tensor

from distill.explain.score import Score, gradient


def saliency(score: Score, x: Tensor) -> Tensor:
    """The greatest slope over the channels of each pixel, (B, H, W); never negative."""
    return gradient(score, x).abs().amax(1)


def smooth_grad(
    score: Score, x: Tensor, *, samples: int = 25, spread: float = 0.1, seed: int = 0
) -> Tensor:
    """Mean saliency of noisy copies of each image, (B, H, W).

    Parameters
    ----------
    samples
        How many copies.
    spread
        Standard deviation of the noise, as a share of the image's range of values.
    seed
        Of the noise.

    Raises
    ------
    ValueError
        If there is no copy to average over.
    """
    if samples < 1:
        raise ValueError(f"samples = {samples}: at least one noisy copy is needed")
    generator = torch.Generator(x.device).manual_seed(seed)
    flat = x.flatten(1)
    sigma = spread * (flat.amax(1) - flat.amin(1)).view(-1, 1, 1, 1)
    total = torch.zeros_like(x[:, 0])
    for _ in range(samples):
        noise = torch.randn(x.shape, generator=generator, device=x.device)
        total += saliency(score, x + sigma * noise)
    return total / samples
