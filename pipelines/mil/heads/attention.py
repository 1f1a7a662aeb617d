"""Parts that several heads share: projection of the embeddings, gated attention."""

import torch
from torch import Tensor, nn

DROPOUT = 0.25


def projection(dim: int, hidden_dim: int) -> nn.Sequential:
    """x_k = ReLU(W norm(h_k)), with dropout: (..., dim) to (..., hidden_dim)."""
    return nn.Sequential(
        nn.LayerNorm(dim), nn.Linear(dim, hidden_dim), nn.ReLU(), nn.Dropout(DROPOUT)
    )


class GatedAttention(nn.Module):
    """w^T( tanh(V x_k) * sigmoid(U x_k) ), once for each of `branches` vectors w.

    Ilse, Tomczak and Welling, ICML 2018. The scores have no bias: it would cancel in the softmax.
    """

    def __init__(self, hidden_dim: int, attention_dim: int, *, branches: int = 1) -> None:
        super().__init__()
        self.tanh_branch = nn.Linear(hidden_dim, attention_dim)
        self.sigmoid_branch = nn.Linear(hidden_dim, attention_dim)
        self.score = nn.Linear(attention_dim, branches, bias=False)

    def forward(self, hidden: Tensor) -> Tensor:
        """Scores before the softmax: (..., hidden_dim) to (..., branches)."""
        gate = torch.tanh(self.tanh_branch(hidden)) * torch.sigmoid(self.sigmoid_branch(hidden))
        return torch.as_tensor(self.score(gate))


def softmax_over(scores: Tensor, bag_mask: Tensor) -> Tensor:
    """Softmax of (B, N, K) scores over the real instances of each bag; 0 on padding."""
    return scores.masked_fill(~bag_mask[..., None], -torch.inf).softmax(dim=1)
