"""How wrong a student's coarsest features are about what the nuclei around them look like."""

import torch
from torch import Tensor
from torch.nn import functional

CELL_PX = 16  # of the maps: 32 pixels of a tile, a cell of the coarsest features
DENSITY = (0.2, 0.2)  # mean and standard deviation of the share of a cell that is nuclear
ENOUGH = 0.3  # a cell with this share counts fully, one with less for as much less


def appearance_loss(looks: Tensor, target: Tensor) -> Tensor:
    """Squared error of density and mean appearance, cell by cell, in standard deviations.

    Parameters
    ----------
    looks
        (B, 6, H, W) what a student says, the same throughout a cell: density and appearance.
    target
        (B, 8, H, W) probability, distances, which do not count here, and the
        `distill.appearance.APPEARANCE` of the nucleus at each pixel, NaN where there is none.
    """
    looks = functional.avg_pool2d(looks, CELL_PX)
    density = (functional.avg_pool2d(target[:, :1], CELL_PX) - DENSITY[0]) / DENSITY[1]
    known = ~target[:, 3:4].isnan()
    share = functional.avg_pool2d(known.to(target.dtype), CELL_PX)
    total = functional.avg_pool2d(torch.where(known, target[:, 3:], 0), CELL_PX)
    mean = total / share.clamp(min=1e-6)
    weight = (share / ENOUGH).clamp(max=1)
    of_density = (looks[:, :1] - density).square().mean()
    of_nuclei = ((looks[:, 1:] - mean).square().mean(1, keepdim=True) * weight).sum()
    return of_density + of_nuclei / weight.sum().clamp(min=1)
