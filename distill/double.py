"""Feature maps at twice their height and width, with a backward pass that is fast on a CPU."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

NEAR, FAR = 0.75, 0.25  # weights of the two positions that a doubled one lies between


def double(x: Tensor) -> Tensor:
    """(B, C, H, W) to (B, C, 2H, 2W), bilinearly, as `interpolate` without aligned corners does."""
    doubled: Tensor = _Double.apply(x) if x.device.type == "cpu" else _larger(x)
    return doubled


class _Double(torch.autograd.Function):
    """Torch's own backward pass on a CPU knows no channels-last: it copies, there and back."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return _larger(x)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return _gathered(_gathered(gradient, 2), 3)


def _larger(x: Tensor) -> Tensor:
    return functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


def _gathered(gradient: Tensor, axis: int) -> Tensor:
    """What each position gave along an axis: to its own two, to one of either neighbour's.

    At the ends, where there is no neighbour, that share is its own too.
    """
    length = gradient.shape[axis] // 2
    pairs = gradient.unflatten(axis, (length, 2))  # type: ignore[no-untyped-call]
    even, odd = pairs.unbind(axis + 1)
    sums: Tensor = (even + odd) * NEAR
    inner = length - 1
    sums.narrow(axis, 0, inner).add_(even.narrow(axis, 1, inner), alpha=FAR)
    sums.narrow(axis, 1, inner).add_(odd.narrow(axis, 0, inner), alpha=FAR)
    sums.select(axis, 0).add_(even.select(axis, 0), alpha=FAR)
    sums.select(axis, inner).add_(odd.select(axis, inner), alpha=FAR)
    return sums
