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
    torch.testing.assert_close(layer(tokens), exact(layer, tokens))


def test_more_landmarks_are_nearer_to_the_exact_attention(tokens: Tensor) -> None:
    errors = []
    for landmarks in (2, 10, 25, 49):
        layer = make(landmarks)
        errors.append((layer(tokens) - exact(layer, tokens)).abs().mean().item())
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < errors[0] / 4


@pytest.mark.parametrize("landmarks", [5, 7, 64])
def test_the_first_token_alone_is_the_first_of_all(tokens: Tensor, landmarks: int) -> None:
    layer = make(landmarks)
    first, attends = layer.first(tokens)
    weights = attends()
    torch.testing.assert_close(first, layer(tokens)[0])
    assert weights.shape == (50,)
    assert weights.sum().item() == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("landmarks", [5, 7])
def test_it_is_the_product_of_three_softmaxes(tokens: Tensor, landmarks: int) -> None:
    """Written out, with landmarks of the projected tokens, and runs that overlap or do not."""
    layer = make(landmarks)
    q, k, v = (
        part.unflatten(1, (HEADS, -1)).transpose(0, 1) for part in layer.qkv(tokens).chunk(3, dim=1)
    )
    ql, kl = (functional.adaptive_avg_pool1d(of.mT, landmarks).mT for of in (q, k))
    scale = (DIM / HEADS) ** 0.5
    towards, middle, away = (
        (one @ other.mT / scale).softmax(-1) for one, other in ((q, kl), (ql, kl), (ql, k))
    )
    weights = towards @ pseudo_inverse(middle, layer.iterations) @ away
    expected = layer.out((weights @ v).transpose(0, 1).flatten(1))
    torch.testing.assert_close(layer(tokens), expected, rtol=1e-4, atol=1e-5)
    found = layer.first(tokens)[1]()
    torch.testing.assert_close(found, weights[:, 0].mean(dim=0), rtol=1e-4, atol=1e-5)


def test_the_pseudo_inverse_is_lapacks() -> None:
    scores = torch.randn(3, 12, 12, generator=Generator().manual_seed(1), dtype=torch.float64)
    matrix = scores.softmax(-1)
    expected = torch.linalg.pinv(matrix)
    torch.testing.assert_close(pseudo_inverse(matrix, 40), expected)
