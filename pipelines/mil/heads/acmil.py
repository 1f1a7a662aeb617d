"""ACMIL (Zhang et al., ECCV 2024): several attentions, kept from agreeing on a few instances.

    A_t = softmax_k( w_t^T( tanh(V x_k) * sigmoid(U x_k) ) ),  t = 1..T      branches
    y_t = C_t (sum_k A_tk x_k),   y = C (sum_k a_k x_k),   a = mean_t A_t
    L   = CE(y, t) + mean_t CE(y_t, t) + mean_{s<t} cos(A_s, A_t)

While training, `DROPPED` of each branch's `TOP` most attended instances, chosen at random, get no
attention (stochastic top-K instance masking).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipelines.mil.heads.attention import GatedAttention, projection, softmax_over
from pipelines.mil.heads.head import BagOutput, Head, weighted_cross_entropy

TOP = 10  # instances of a branch that may be masked
DROPPED = 0.6  # share of them that are


class Acmil(Head):
    """Attention-challenging head; the attention is the mean of its branches'.

    Parameters
    ----------
    dim, classes
        Length D of an embedding, number C of classes.
    hidden_dim, attention_dim
        Lengths of x_k and of the attention's hidden layer.
    branches
        Number T of attentions.
    """

    def __init__(
        self,
        dim: int,
        classes: int,
        *,
        hidden_dim: int = 128,
        attention_dim: int = 64,
        branches: int = 5,
    ) -> None:
        super().__init__(hidden_dim=hidden_dim, attention_dim=attention_dim, branches=branches)
        self.project = projection(dim, hidden_dim)
        self.attend = GatedAttention(hidden_dim, attention_dim, branches=branches)
        self.classify_branches = nn.ModuleList(
            nn.Linear(hidden_dim, classes) for _ in range(branches)
        )
        self.classify = nn.Linear(hidden_dim, classes)

    def forward(self, bags: Tensor, bag_mask: Tensor) -> BagOutput:
        """As `Head.forward`."""
        hidden, attentions = self._attended(bags, bag_mask)
        attention = attentions.mean(dim=2)
        slide = torch.einsum("bn,bnh->bh", attention, hidden)
        return BagOutput(
            logits=self.classify(slide), attention=attention, tile_logits=self.classify(hidden)
        )

    def loss(self, bags: Tensor, bag_mask: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        """Cross-entropy of the slides and of the branches, and the branches' likeness."""
        hidden, attentions = self._attended(bags, bag_mask)
        pooled = torch.einsum("bnt,bnh->tbh", attentions, hidden)
        slides = weighted_cross_entropy(self.classify(pooled.mean(dim=0)), target, weight)
        branches = [
            weighted_cross_entropy(classify(of_branch), target, weight)
            for classify, of_branch in zip(self.classify_branches, pooled, strict=True)
        ]
        return slides + torch.stack(branches).mean() + _likeness(attentions)

    def _attended(self, bags: Tensor, bag_mask: Tensor) -> tuple[Tensor, Tensor]:
        """X (B, N, H) and the attention of each branch (B, N, T)."""
        hidden = self.project(bags)
        scores = self.attend(hidden).masked_fill(~bag_mask[..., None], -torch.inf)
        if self.training:
            scores = scores.masked_fill(_challenged(scores, bag_mask), -torch.inf)
        return hidden, softmax_over(scores, bag_mask)


def _challenged(scores: Tensor, bag_mask: Tensor) -> Tensor:
    """True on instances that a branch is kept from, (B, N, T); never on all of a bag."""
    chosen = torch.zeros_like(scores, dtype=torch.bool)
    for bag, (of_bag, real) in enumerate(zip(scores.detach(), bag_mask, strict=True)):
        top = min(TOP, int(real.sum()))
        candidates = of_bag.topk(top, dim=0).indices
        lots = torch.rand(candidates.shape, device=scores.device).argsort(dim=0)
        chosen[bag].scatter_(0, candidates.gather(0, lots)[: int(DROPPED * top)], True)
    return chosen


def _likeness(attentions: Tensor) -> Tensor:
    """Mean cosine between the attentions of two branches, 0-1; 0 if there is only one."""
    directions = functional.normalize(attentions, dim=1)
    cosines = torch.einsum("bns,bnt->bst", directions, directions)
    count = attentions.shape[2]
    pairs = torch.ones(count, count, device=cosines.device).triu(1).bool()
    return cosines[:, pairs].mean() if count > 1 else cosines.new_zeros(())
