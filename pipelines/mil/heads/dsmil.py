"""DSMIL (Li, Li and Eliceiri, CVPR 2021): attention to what resembles the critical instance.

    s_kc = w_c . x_k                         first stream; critical instance m_c = argmax_k s_kc
    a_kc = softmax_k( q_k . q_{m_c} / sqrt(d) ),  q_k = Q x_k
    z_c  = sum_k a_kc V x_k                  second stream
    y    = ( s_m + F [z_1 ... z_C] + b ) / 2

F sees the embeddings of all classes, as in the paper. Each stream has a loss of its own.
"""

import torch
from torch import Tensor, nn

from pipelines.mil.heads.attention import projection
from pipelines.mil.heads.head import BagOutput, Head, of_predicted_class, weighted_cross_entropy


class Dsmil(Head):
    """Dual-stream head; the attention is that of the predicted class.

    Parameters
    ----------
    dim, classes
        Length D of an embedding, number C of classes.
    hidden_dim, query_dim
        Lengths of x_k and of q_k.
    """

    def __init__(
        self, dim: int, classes: int, *, hidden_dim: int = 128, query_dim: int = 128
    ) -> None:
        super().__init__(hidden_dim=hidden_dim, query_dim=query_dim)
        self.project = projection(dim, hidden_dim)
        self.score = nn.Linear(hidden_dim, classes)
        self.query = nn.Linear(hidden_dim, query_dim)
        self.value = nn.Linear(hidden_dim, hidden_dim)
        self.classify = nn.Linear(classes * hidden_dim, classes)

    def forward(self, bags: Tensor, bag_mask: Tensor) -> BagOutput:
        """As `Head.forward`."""
        hidden = self.project(bags)
        scores, values = self.score(hidden), self.value(hidden)
        strongest, pooled, attention = self._streams(hidden, scores, values, bag_mask)
        logits = (strongest + pooled) / 2
        # A tile alone is critical for every class, so each z_c is its own value.
        bias = self.classify.bias
        weight = self.classify.weight.view(len(bias), len(bias), -1).sum(dim=1)
        alone = nn.functional.linear(values, weight, bias)
        return BagOutput(
            logits=logits,
            attention=of_predicted_class(attention, logits),
            tile_logits=(scores + alone) / 2,
        )

    def loss(self, bags: Tensor, bag_mask: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        """Mean of the two streams' cross-entropies."""
        hidden = self.project(bags)
        streams = self._streams(hidden, self.score(hidden), self.value(hidden), bag_mask)
        losses = [weighted_cross_entropy(stream, target, weight) for stream in streams[:2]]
        return torch.stack(losses).mean()

    def _streams(
        self, hidden: Tensor, scores: Tensor, values: Tensor, bag_mask: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Logits of the first and of the second stream, (B, C), and the attention (B, N, C)."""
        padding = ~bag_mask[..., None]
        strongest, critical = scores.masked_fill(padding, -torch.inf).max(dim=1)
        queries = self.query(hidden)
        batch = torch.arange(len(hidden), device=hidden.device)[:, None]
        likeness = torch.einsum("bnd,bcd->bnc", queries, queries[batch, critical])
        likeness = likeness / queries.shape[-1] ** 0.5
        attention = likeness.masked_fill(padding, -torch.inf).softmax(dim=1)
        pooled = torch.einsum("bnc,bnh->bch", attention, values)
        return strongest, self.classify(pooled.flatten(1)), attention
