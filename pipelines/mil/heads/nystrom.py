"""Self-attention among many tokens at a cost linear in their number.

Xiong et al., "Nyströmformer", AAAI 2021. With m landmarks, the means of m runs of consecutive
queries and keys,

    softmax(Q K^T) V  ≈  softmax(Q Kl^T) · pinv( softmax(Ql Kl^T) ) · softmax(Ql K^T) V

The pseudo-inverse is iterated (Razavi et al., Appl. Math. Comput. 2014). With no more tokens than
landmarks the attention is exact. The runs share a token at their ends where the tokens do not
divide evenly, so nothing is padded.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional


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

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Mix tokens.

        Parameters
        ----------
        tokens
            (L, dim).

        Returns
        -------
        (L, dim), and how the first token attends to all, (L,): mean over the heads. It sums to 1;
        approximated, it may be negative.
        """
        length, dim = tokens.shape
        q, k, v = self.qkv(tokens).view(length, 3, self.heads, -1).permute(1, 2, 0, 3)
        q = q / q.shape[-1] ** 0.5
        if length <= self.landmarks:
            weights = (q @ k.mT).softmax(dim=-1)
            mixed, first = weights @ v, weights[:, 0]
        else:
            ql, kl = self._landmarks(q), self._landmarks(k)
            towards, away = (q @ kl.mT).softmax(dim=-1), (ql @ k.mT).softmax(dim=-1)
            inverse = pseudo_inverse((ql @ kl.mT).softmax(dim=-1), self.iterations)
            mixed = towards @ (inverse @ (away @ v))
            first = (towards[:, :1] @ inverse @ away)[:, 0]
        return self.out(mixed.transpose(0, 1).reshape(length, dim)), first.mean(dim=0)

    def _landmarks(self, tokens: Tensor) -> Tensor:
        """Means of runs: (heads, L, d) to (heads, m, d)."""
        return functional.adaptive_avg_pool1d(tokens.mT, self.landmarks).mT


def pseudo_inverse(matrix: Tensor, iterations: int) -> Tensor:
    """Moore-Penrose inverse of (..., m, m) matrices whose rows are softmaxes, by iteration."""
    largest = matrix.sum(dim=-2).amax(dim=-1)[..., None, None]  # the rows sum to 1
    inverse = matrix.mT / largest
    one = torch.eye(matrix.shape[-1], device=matrix.device, dtype=matrix.dtype)
    for _ in range(iterations):
        product = matrix @ inverse
        inverse = inverse @ (13 * one - product @ (15 * one - product @ (7 * one - product))) / 4
    return inverse
