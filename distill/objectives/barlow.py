"""Barlow Twins: two views agree in each feature, and no two features say the same.

Zbontar, Jing, Misra, LeCun and Deny, ICML 2021.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from distill.objectives.projector import projector

WIDTH = 2048  # of the projections; the paper's 8192 is for a ResNet-50 and ImageNet
REDUNDANCY = 5e-3  # the paper's λ: weight of the terms off the diagonal


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
        """Both views of B tiles, one after the other, (2B, 3, S, S), to projections (2B, D)."""
        projections: Tensor = self.projector(self.encoder(views))
        return projections


def barlow_loss(projections: Tensor, weight: float = REDUNDANCY) -> Tensor:
    """Squared distance of the views' cross-correlation from the identity matrix.

    ``sum_i (1 − C_ii)² + weight · sum_{i≠j} C_ij²`` with C_ij the correlation over the batch of
    feature i in the first view and feature j in the second.

    Parameters
    ----------
    projections
        (2B, D), the first views and then the second of the same tiles; B at least 2.
    """
    first, second = (
        functional.batch_norm(half.float(), None, None, training=True, eps=1e-5)
        for half in projections.chunk(2)
    )
    correlation = first.T @ second / len(first)
    on_diagonal = torch.diagonal(correlation)
    off_diagonal = correlation.square().sum() - on_diagonal.square().sum()
    return (1 - on_diagonal).square().sum() + weight * off_diagonal
