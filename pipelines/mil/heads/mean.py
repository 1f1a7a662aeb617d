"""The mean of the instances: the baseline that any attention has to beat.

    y = C (1/N sum_k x_k) + b,  x_k = ReLU(W norm(h_k))

C is linear, so the slide's logits are the mean of its tiles' logits.
"""

import torch
from torch import Tensor, nn

from pipelines.mil.heads.attention import projection
from pipelines.mil.heads.head import BagOutput, Head


class MeanPooling(Head):
    """Mean pooling; its attention is an even share.

    Parameters
    ----------
    dim, classes
        Length D of an embedding, number C of classes.
    hidden_dim
        Length of x_k.
    """

    def __init__(self, dim: int, classes: int, *, hidden_dim: int = 128) -> None:
        super().__init__(hidden_dim=hidden_dim)
        self.project = projection(dim, hidden_dim)
        self.classify = nn.Linear(hidden_dim, classes)

    def forward(self, bags: Tensor, bag_mask: Tensor) -> BagOutput:
        """As `Head.forward`."""
        hidden = self.project(bags)
        attention = bag_mask / bag_mask.sum(dim=1, keepdim=True)
        slide = torch.einsum("bn,bnh->bh", attention, hidden)
        return BagOutput(
            logits=self.classify(slide), attention=attention, tile_logits=self.classify(hidden)
        )
