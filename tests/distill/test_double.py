"""Doubling is torch's bilinear interpolation, forward and backward."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from distill.double import double


def by_torch(x: Tensor) -> Tensor:
    return functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


@pytest.mark.parametrize("shape", [(2, 3, 5, 7), (1, 1, 1, 1), (1, 2, 1, 4), (2, 1, 2, 2)])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_values_and_gradients_are_those_of_torch(
    shape: tuple[int, ...], layout: torch.memory_format
) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(shape, generator=generator).to(memory_format=layout)
    above = torch.randn(*shape[:2], 2 * shape[2], 2 * shape[3], generator=generator)
    gradients = []
    for way in (double, by_torch):
        leaf = x.clone().requires_grad_()
        larger = way(leaf)
        larger.backward(above)
        assert torch.equal(larger, by_torch(x))
        gradients.append(leaf.grad)
    torch.testing.assert_close(gradients[0], gradients[1])


def test_half_precision_stays_half() -> None:
    x = torch.randn(1, 4, 6, 6, dtype=torch.bfloat16, requires_grad=True)
    larger = double(x)
    larger.sum().backward()
    assert larger.dtype == torch.bfloat16
    assert x.grad is not None
    assert torch.equal(x.grad, torch.full_like(x, 4))  # each position gave four shares of 1
