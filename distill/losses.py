"""What teacher and student are trained to minimise: the same sum on hard and on soft maps.

Nuclei map: binary cross-entropy and Dice; distance maps: mean squared error, counted where the
target says nucleus. With a teacher's soft map as the target, cross-entropy has the gradient of
the Kullback-Leibler divergence at temperature 1, so no term of its own is needed for that.
"""

import torch
from torch import Tensor
from torch.nn import functional


def nuclei_loss(maps: Tensor, target: Tensor) -> Tensor:
    """The loss of predicted maps.

    Parameters
    ----------
    maps
        (B, 3, H, W): nuclei logit, horizontal and vertical distance.
    target
        (B, 3, H, W): nuclei probability 0-1, distances −1 to 1.
    """
    logit, probability = maps[:, 0], target[:, 0]
    cross_entropy = functional.binary_cross_entropy_with_logits(logit, probability)
    squared = ((maps[:, 1:] - target[:, 1:]) ** 2).sum(1)
    distance = (squared * probability).sum() / probability.sum().clamp(min=1.0)
    return cross_entropy + dice_loss(logit.sigmoid(), probability) + distance


def dice_loss(predicted: Tensor, target: Tensor) -> Tensor:
    """One minus the soft Dice coefficient over the batch (Milletari et al., V-Net, 2016)."""
    overlap = 2 * (predicted * target).sum()
    return 1 - (overlap + 1) / ((predicted**2).sum() + (target**2).sum() + 1)


@torch.no_grad()
def fidelity(maps: Tensor, target: Tensor) -> dict[str, float]:
    """How well a student repeats its teacher: Dice of the maps at 0.5, and distance error.

    ``distance_error`` is the mean absolute error of both distances where the target is nucleus.
    """
    predicted, actual = maps[:, 0] > 0, target[:, 0] > 0.5
    overlap = 2 * (predicted & actual).sum()
    both = predicted.sum() + actual.sum()
    dice = overlap / both if both else 1.0  # two that see no nucleus agree
    error = (maps[:, 1:] - target[:, 1:]).abs().mean(1)
    inside = actual.sum().clamp(min=1)
    return {"dice": float(dice), "distance_error": float((error * actual).sum() / inside)}
