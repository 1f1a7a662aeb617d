"""Gated attention pooling (Ilse, Tomczak and Welling, ICML 2018), for any number of classes.

    x_k = ReLU(W norm(h_k))
    a   = softmax_k( w^T( tanh(V x_k) * sigmoid(U x_k) ) )
    y   = C (sum_k a_k x_k) + b

Because C is linear, the slide's logits are the attention-weighted mean of C x_k + b, the logits
of each tile seen alone. Those are what the score heatmap shows.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True, slots=True, kw_only=True)
class BagOutput:
    """What the head says of a batch of bags.

    Attributes
    ----------
    logits
        (B, C) of the slides.
    attention
        (B, N), sums to 1 over the real instances of a bag, 0 on padding.
    tile_logits
        (B, N, C) of each tile seen alone.
    """

    logits: Tensor
    attention: Tensor
    tile_logits: Tensor


class GatedAbmil(nn.Module):
    """Gated attention-based MIL head.

    Parameters
    ----------
    dim
        Length D of an embedding.
    classes
        Number C of classes.
    hidden_dim, attention_dim
        Lengths of x_k and of the attention's hidden layer.
    """

    def __init__(
        self, dim: int, classes: int, *, hidden_dim: int = 128, attention_dim: int = 64
    ) -> None:
        super().__init__()
        self.project = nn.Sequential(
            nn.LayerNorm(dim), nn.Linear(dim, hidden_dim), nn.ReLU(), nn.Dropout(0.25)
        )
        self.tanh_branch = nn.Linear(hidden_dim, attention_dim)
        self.sigmoid_branch = nn.Linear(hidden_dim, attention_dim)
        self.attend = nn.Linear(attention_dim, 1)
        self.classify = nn.Linear(hidden_dim, classes)

    def forward(self, bags: Tensor, bag_mask: Tensor) -> BagOutput:
        """Score bags.

        Parameters
        ----------
        bags
            (B, N, D) float32 embeddings, padded to the longest bag.
        bag_mask
            (B, N) bool, True on real instances; each bag has at least one.
        """
        hidden = self.project(bags)
        gate = torch.tanh(self.tanh_branch(hidden)) * torch.sigmoid(self.sigmoid_branch(hidden))
        scores = self.attend(gate).squeeze(-1).masked_fill(~bag_mask, -torch.inf)
        attention = torch.softmax(scores, dim=1)
        slide = torch.einsum("bn,bnh->bh", attention, hidden)
        return BagOutput(
            logits=self.classify(slide),
            attention=attention,
            tile_logits=self.classify(hidden),
        )
