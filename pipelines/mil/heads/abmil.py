"""Gated attention pooling (Ilse, Tomczak and Welling, ICML 2018), for any number of classes.

    x_k = ReLU(W norm(h_k))
    a   = softmax_k( w^T( tanh(V x_k) * sigmoid(U x_k) ) )
    y   = C (sum_k a_k x_k) + b

Because C is linear, the slide's logits are the attention-weighted mean of C x_k + b, the logits
of each tile seen alone. Those are what the score heatmap shows.
"""

import torch
from torch import Tensor, nn

from pipelines.mil.heads.attention import GatedAttention, projection, softmax_over
from pipelines.mil.heads.head import BagOutput, Head


class GatedAbmil(Head):
    """Gated attention-based MIL head.

    Parameters
    ----------
    dim, classes
        Length D of an embedding, number C of classes.
    hidden_dim, attention_dim
        Lengths of x_k and of the attention's hidden layer.
    """

    def __init__(
        self, dim: int, classes: int, *, hidden_dim: int = 128, attention_dim: int = 64
    ) -> None:
        super().__init__(hidden_dim=hidden_dim, attention_dim=attention_dim)
        self.project = projection(dim, hidden_dim)
        self.attend = GatedAttention(hidden_dim, attention_dim)
        self.classify = nn.Linear(hidden_dim, classes)

    def forward(self, bags: Tensor, bag_mask: Tensor) -> BagOutput:
        """As `Head.forward`."""
        hidden = self.project(bags)
        attention = softmax_over(self.attend(hidden), bag_mask).squeeze(-1)
        slide = torch.einsum("bn,bnh->bh", attention, hidden)
        return BagOutput(
            logits=self.classify(slide), attention=attention, tile_logits=self.classify(hidden)
        )
