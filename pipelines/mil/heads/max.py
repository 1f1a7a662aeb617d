"""The strongest instance of each class, the standard assumption of multiple-instance learning.

y_c = max_k ( w_c . x_k + b_c ),  x_k = ReLU(W norm(h_k))
"""

import torch
from torch import Tensor, nn

from pipelines.mil.heads.attention import projection
from pipelines.mil.heads.head import BagOutput, Head


class MaxPooling(Head):
    """Max pooling; the attention is 1 on the strongest instance of the class it predicts.

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
        tile_logits = self.classify(self.project(bags))
        logits, strongest = tile_logits.masked_fill(~bag_mask[..., None], -torch.inf).max(dim=1)
        chosen = strongest.gather(1, logits.argmax(dim=1, keepdim=True))
        attention = torch.zeros_like(bags[..., 0]).scatter(1, chosen, 1.0)
        return BagOutput(logits=logits, attention=attention, tile_logits=tile_logits)
