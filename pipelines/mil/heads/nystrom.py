"""Self-attention among many tokens at a cost linear in their number.

Xiong et al., "Nyströmformer", AAAI 2021. With m landmarks, the means of m runs of consecutive
queries and keys,

    softmax(Q K^T) V  ≈  softmax(Q Kl^T) · ( pinv( softmax(Ql Kl^T) ) · ( softmax(Ql K^T) V ) )

The pseudo-inverse is iterated (Razavi et al., Appl. Math. Comput. 2014). With no more tokens than
landmarks the attention is exact. The runs share a token at their ends where the tokens do not
divide evenly, so nothing is padded.

In this order each of the two large products is itself an attention, softmax(A B^T) C, which torch
computes without writing a softmax of L by m numbers; and the means are taken of the tokens, since
those of their queries and keys are the same.
"""

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, linear, scaled_dot_product_attention


class NystromAttention(nn.Module):
    """Multi-head self-attention among the tokens of one sequence.

    Parameters
    ----------
    dim
        Length of a token, a multiple of `heads`.
    heads, landmarks
        Number of attention heads, and of landmarks m.
    iterations
        Of the pseudo-inverse; 6 in the paper.
    """

    def __init__(self, dim: int, *, heads: int, landmarks: int, iterations: int = 6) -> None:
        super().__init__()
        self.heads, self.landmarks, self.iterations = heads, landmarks, iterations
        self.qkv = nn.Linear(dim, 3 * dim, bias=False)
        self.out = nn.Linear(dim, dim)

    def forward(self, tokens: Tensor) -> Tensor:
        """Mix tokens: (L, dim) to (L, dim)."""
        q, k, v = self._project(tokens, "qkv")
        if self._is_exact(tokens):
            return self._join(_attend(q, k, v))
        ql, kl = self._landmarks(tokens)
        return self._join(_attend(q, kl, self._inverse(ql, kl) @ _attend(ql, k, v)))

    def first(self, tokens: Tensor) -> tuple[Tensor, Callable[[], Tensor]]:
        """What `forward` makes of the first token, (dim,), at a part of its cost.

        Also a function that computes how that token attends to all, (L,), without a gradient: mean
        over the heads. It sums to 1; approximated, it may be negative.
        """
        (q,) = self._project(tokens[:1], "q")
        k, v = self._project(tokens, "kv")
        if self._is_exact(tokens):
            mixed = _attend(q, k, v)
            towards, ql = torch.ones_like(q[..., :1]), q
        else:
            ql, kl = self._landmarks(tokens)
            towards = _softmax(q, kl) @ self._inverse(ql, kl)
            mixed = towards @ _attend(ql, k, v)
        return self._join(mixed)[0], partial(_shares, towards, ql, k)

    def _is_exact(self, tokens: Tensor) -> bool:
        return len(tokens) <= self.landmarks

    def _project(self, tokens: Tensor, names: str) -> tuple[Tensor, ...]:
        """Some of queries, keys and values that follow one another, each (heads, L, d)."""
        dim = tokens.shape[1]
        start = "qkv".index(names) * dim
        projected = linear(tokens, self.qkv.weight[start : start + len(names) * dim])
        return projected.view(len(tokens), len(names), self.heads, -1).permute(1, 2, 0, 3).unbind()

    def _landmarks(self, tokens: Tensor) -> tuple[Tensor, ...]:
        """Queries and keys of the means of runs, (heads, m, d)."""
        means = adaptive_avg_pool2d(tokens.T[None, :, :, None], (self.landmarks, 1))
        return self._project(means[0, :, :, 0].T, "qk")

    def _inverse(self, ql: Tensor, kl: Tensor) -> Tensor:
        return pseudo_inverse(_softmax(ql, kl), self.iterations)

    def _join(self, mixed: Tensor) -> Tensor:
        """Put the heads' parts, (heads, L, d), side by side: (L, dim)."""
        return torch.as_tensor(self.out(mixed.transpose(0, 1).flatten(1)))


def _softmax(q: Tensor, k: Tensor) -> Tensor:
    """softmax(Q K^T / √d): (heads, L, d) and (heads, m, d) to (heads, L, m)."""
    return (q @ k.mT / math.sqrt(q.shape[-1])).softmax(dim=-1)


def _attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """softmax(Q K^T / √d) V, of (heads, ., d); torch's fast ways want a batch."""
    return scaled_dot_product_attention(q[None], k[None], v[None])[0]


@torch.no_grad()
def _shares(towards: Tensor, ql: Tensor, k: Tensor) -> Tensor:
    """The product of `towards` with softmax(Ql K^T), (L,): mean over the heads.

    One head at a time, to spare memory.
    """
    total = k.new_zeros(k.shape[1])
    for to, q, keys in zip(towards, ql, k, strict=True):
        total += (to @ _softmax(q, keys))[0]
    return total / len(k)


def pseudo_inverse(matrix: Tensor, iterations: int) -> Tensor:
    """Moore-Penrose inverse of (..., m, m) matrices whose rows are softmaxes, by iteration."""
    largest = matrix.sum(dim=-2).amax(dim=-1)[..., None, None]  # the rows sum to 1
    inverse = matrix.mT / largest
    one = torch.eye(matrix.shape[-1], device=matrix.device, dtype=matrix.dtype)
    for _ in range(iterations):
        product = matrix @ inverse
        inverse = inverse @ (13 * one - product @ (15 * one - product @ (7 * one - product))) / 4
    return inverse
