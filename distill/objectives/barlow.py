"""Barlow Twins: two views agree in each feature, and no two features say the same.

Zbontar, Jing, Misra, LeCun and Deny, ICML 2021. How large batch, projector and λ are together
matters: of B tiles, two features that have nothing to do with each other correlate by chance,
C_ij² = 1/(B − 1) on average, which no training removes.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from distill import group
from distill.objectives.projector import projector

WIDTH = 2048  # of the projections; the paper's 8192 is for a ResNet-50 and ImageNet


class BarlowTwins(nn.Module):
    """An encoder with Barlow Twins' projector.

    Parameters
    ----------
    encoder
        Maps (B, 3, S, S) to embeddings (B, `dim`).
    """

    def __init__(self, encoder: nn.Module, *, dim: int, width: int = WIDTH) -> None:
        super().__init__()
        self.encoder = encoder
        self.projector = projector(dim, hidden=width, out=width, layers=3)

    def forward(self, views: Tensor) -> Tensor:
        """Both views of B tiles, one after the other, (2B, 3, S, S), to projections (2B, D).

        Of processes that train together each projects the tiles of all, since the projector's
        batch normalisation and the loss are of the whole batch.
        """
        projections: Tensor = self.projector(group.gather_views(self.encoder(views)))
        return projections


def barlow_loss(projections: Tensor, weight: float | None = None) -> Tensor:
    """Squared distance of the views' cross-correlation from the identity matrix.

    ``sum_i (1 − C_ii)² + weight · sum_{i≠j} C_ij²`` with C_ij the correlation over the batch of
    feature i in the first view and feature j in the second.

    Parameters
    ----------
    projections
        (2B, D), the first views and then the second of the same tiles; B at least 2.
    weight
        The paper's λ. Without it 1/D (Tsai, Bai, Morency and Salakhutdinov, A Note on Connecting
        Barlow Twins with Negative-Sample-Free Contrastive Learning, 2021): the paper's 0.005 for
        D = 8192 and B = 2048 would at a batch of 32 mostly weigh chance.
    """
    first, second = (
        functional.batch_norm(half.float(), None, None, training=True, eps=1e-5)
        for half in projections.chunk(2)
    )
    weight = 1 / first.shape[1] if weight is None else weight
    correlation = first.T @ second / len(first)
    on_diagonal = torch.diagonal(correlation)
    off_diagonal = correlation.square().sum() - on_diagonal.square().sum()
    return (1 - on_diagonal).square().sum() + weight * off_diagonal
