"""DTFD-MIL (Zhang et al., CVPR 2022), aggregated feature selection (AFS).

A bag is split into M pseudo-bags, each with the bag's label. With attention a within a pseudo-bag
and b over the pseudo-bags,

    z_m = sum_{k in m} a_k x_k,   y_m = C1 z_m + c1          tier 1
    y   = C2 (sum_m b_m z_m) + c2                            tier 2
    L   = mean_m CE(y_m, t) + CE(y, t)

Training deals the instances out at random. An answer must not depend on chance, so otherwise they
are dealt out in turn by rank of their attention: pseudo-bags as alike as random ones are.
"""

import torch
from torch import Tensor, nn

from pipelines.mil.heads.attention import GatedAttention, projection, softmax_over
from pipelines.mil.heads.head import BagOutput, Head, weighted_cross_entropy

LOWEST = -1e30  # stands in for minus infinity where a pseudo-bag may be empty


class Dtfd(Head):
    """Double-tier head; an instance's attention is its share of its pseudo-bag times that's share.

    Parameters
    ----------
    dim, classes
        Length D of an embedding, number C of classes.
    hidden_dim, attention_dim
        Lengths of x_k and of both attentions' hidden layers.
    groups
        Number M of pseudo-bags; a bag of fewer instances has as many as instances.
    """

    def __init__(
        self,
        dim: int,
        classes: int,
        *,
        hidden_dim: int = 128,
        attention_dim: int = 64,
        groups: int = 4,
    ) -> None:
        super().__init__(hidden_dim=hidden_dim, attention_dim=attention_dim, groups=groups)
        self.groups = groups
        self.project = projection(dim, hidden_dim)
        self.attend = GatedAttention(hidden_dim, attention_dim)
        self.classify_group = nn.Linear(hidden_dim, classes)
        self.attend_groups = GatedAttention(hidden_dim, attention_dim)
        self.classify = nn.Linear(hidden_dim, classes)

    def forward(self, bags: Tensor, bag_mask: Tensor) -> BagOutput:
        """As `Head.forward`; with one pseudo-bag it is gated ABMIL."""
        hidden = self.project(bags)
        within, distilled, across = self._tiers(hidden, bag_mask)
        return BagOutput(
            logits=self._slide(distilled, across),
            attention=torch.einsum("bm,bmn->bn", across, within),
            tile_logits=self.classify(hidden),
        )

    def loss(self, bags: Tensor, bag_mask: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        """Cross-entropy of the pseudo-bags and of the slides."""
        within, distilled, across = self._tiers(self.project(bags), bag_mask)
        filled = within.sum(dim=2) > 0
        owners = target[:, None].expand_as(filled)[filled]
        groups = weighted_cross_entropy(self.classify_group(distilled[filled]), owners, weight)
        return groups + weighted_cross_entropy(self._slide(distilled, across), target, weight)

    def _tiers(self, hidden: Tensor, bag_mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Attention within (B, M, N), embeddings (B, M, H) of, and attention over (B, M) groups."""
        scores = self.attend(hidden).squeeze(-1)
        keys = torch.rand_like(scores) if self.training else scores.detach()
        members = _deal(keys, bag_mask, self.groups)
        within = scores[:, None].masked_fill(~members, LOWEST).softmax(dim=2) * members
        distilled = torch.einsum("bmn,bnh->bmh", within, hidden)
        across = softmax_over(self.attend_groups(distilled), members.any(dim=2)).squeeze(-1)
        return within, distilled, across

    def _slide(self, distilled: Tensor, across: Tensor) -> Tensor:
        return torch.as_tensor(self.classify(torch.einsum("bm,bmh->bh", across, distilled)))


def _deal(keys: Tensor, bag_mask: Tensor, groups: int) -> Tensor:
    """Deal instances out like cards, the largest key first: (B, N) to members (B, groups, N)."""
    order = keys.masked_fill(~bag_mask, -torch.inf).argsort(dim=1, descending=True)
    number = torch.arange(keys.shape[1], device=keys.device) % groups
    group = torch.empty_like(order).scatter(1, order, number.expand_as(order))
    wanted = torch.arange(groups, device=keys.device)[None, :, None]
    return (group[:, None] == wanted) & bag_mask[:, None]
