"""What a segmentation network is trained to minimise: cross-entropy and Dice, both of the known."""

import torch
from torch import Tensor
from torch.nn import functional

from distill.segmentation.images import UNKNOWN


def class_loss(logits: Tensor, classes: Tensor) -> Tensor:
    """Cross-entropy and one minus the mean soft Dice (Milletari et al., V-Net, 2016).

    Unknown pixels count in neither. Dice is over the batch, and its mean is over the classes
    that occur in it: a class that does not would pull every pixel's probability alike, and a
    missing class is what cross-entropy sees well enough.

    Parameters
    ----------
    logits
        (B, K, H, W).
    classes
        (B, H, W) int64, `UNKNOWN` or 0 to K − 1.
    """
    known = classes != UNKNOWN
    count = known.sum().clamp(min=1)
    summed = functional.cross_entropy(logits, classes, ignore_index=UNKNOWN, reduction="sum")
    return summed / count + _dice_loss(logits.softmax(1), classes, known)


def _dice_loss(probs: Tensor, classes: Tensor, known: Tensor) -> Tensor:
    truth = functional.one_hot(classes.clamp(min=0), probs.shape[1]).movedim(-1, 1)
    truth = truth * known[:, None]
    seen = probs * known[:, None]
    over = (0, 2, 3)
    pixels = truth.sum(over)
    dice = (2 * (seen * truth).sum(over) + 1) / ((seen**2).sum(over) + pixels + 1)
    present = pixels > 0
    return torch.where(present, 1 - dice, 0).sum() / present.sum().clamp(min=1)
