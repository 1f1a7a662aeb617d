"""Nyström attention against the exact one, and the iterated inverse against LAPACK's."""

import pytest
import torch
from torch import Generator, Tensor
from torch.nn import functional

from pipelines.mil.heads.nystrom import NystromAttention, pseudo_inverse

DIM, HEADS = 16, 2


def exact(layer: NystromAttention, tokens: Tensor) -> Tensor:
    """torch's own attention with the same weights."""
    q, k, v = (
        part.unflatten(1, (HEADS, -1)).transpose(0, 1)[None]  # type: ignore[no-untyped-call]
        for part in layer.qkv(tokens).chunk(3, dim=1)
    )
    mixed = functional.scaled_dot_product_attention(q, k, v)
    return torch.as_tensor(layer.out(mixed[0].transpose(0, 1).flatten(1)))


@pytest.fixture
def tokens() -> Tensor:
    return torch.randn(50, DIM, generator=Generator().manual_seed(0))


def make(landmarks: int) -> NystromAttention:
    torch.manual_seed(0)
    return NystromAttention(DIM, heads=HEADS, landmarks=landmarks).eval()


@pytest.mark.parametrize("landmarks", [50, 64])
def test_few_tokens_attend_exactly(tokens: Tensor, landmarks: int) -> None:
    layer = make(landmarks)
    torch.testing.assert_close(layer(tokens)[0], exact(layer, tokens))


def test_more_landmarks_are_nearer_to_the_exact_attention(tokens: Tensor) -> None:
    errors = []
    for landmarks in (2, 10, 25, 49):
        layer = make(landmarks)
        errors.append((layer(tokens)[0] - exact(layer, tokens)).abs().mean().item())
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < errors[0] / 4


@pytest.mark.parametrize("landmarks", [5, 7, 64])
def test_the_first_tokens_attention_sums_to_one(tokens: Tensor, landmarks: int) -> None:
    _, first = make(landmarks)(tokens)
    assert first.shape == (50,)
    assert first.sum().item() == pytest.approx(1, abs=0.02)


def test_the_pseudo_inverse_is_lapacks() -> None:
    scores = torch.randn(3, 12, 12, generator=Generator().manual_seed(1), dtype=torch.float64)
    matrix = scores.softmax(-1)
    expected = torch.linalg.pinv(matrix)
    torch.testing.assert_close(pseudo_inverse(matrix, 40), expected)
