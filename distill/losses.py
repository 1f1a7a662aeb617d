"""What teacher and student are trained to minimise: the same sum on hard and on soft maps.

Nuclei map: binary cross-entropy and Dice; distance maps: mean squared error, counted where the
target says nucleus. With a teacher's soft map as the target, cross-entropy has the gradient of
the Kullback-Leibler divergence at temperature 1, so no term of its own is needed for that.
A teacher's distances must also be sharp where nuclei touch: `instance_loss` adds the error of
their gradients (Graham et al., Medical Image Analysis 58:101563, 2019).
"""

import torch
from torch import Tensor
from torch.nn import functional

REACH = 2  # pixels to either side that a gradient is taken over


def nuclei_loss(maps: Tensor, target: Tensor) -> Tensor:
    """The loss of predicted maps.

    Parameters
    ----------
    maps
        (B, 3, H, W): nuclei logit, horizontal and vertical distance.
    target
        (B, 3, H, W): nuclei probability 0-1, distances −1 to 1. A fourth plane, 0-1, says where
        the distances are known; without it, they are wherever there are nuclei.
    """
    return detection_loss(maps, target) + distance_loss(maps, target)


def instance_loss(maps: Tensor, target: Tensor) -> Tensor:
    """`nuclei_loss`, and the error of the distances' gradients: what tells touching nuclei apart.

    Takes the same maps and target.
    """
    return nuclei_loss(maps, target) + gradient_loss(maps, target)


def detection_loss(maps: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy and Dice of the nuclei map. Takes maps and target of `nuclei_loss`."""
    logit, probability = maps[:, 0], target[:, 0]
    cross_entropy = functional.binary_cross_entropy_with_logits(logit, probability)
    return cross_entropy + dice_loss(logit.sigmoid(), probability)


def distance_loss(maps: Tensor, target: Tensor) -> Tensor:
    """Squared error of both distances where they are known. Takes those of `nuclei_loss`."""
    known = _known(target)
    squared = ((maps[:, 1:] - target[:, 1:3]) ** 2).sum(1)
    return (squared * known).sum() / known.sum().clamp(min=1.0)


def gradient_loss(maps: Tensor, target: Tensor) -> Tensor:
    """Mean squared error of dH/dx and dV/dy over the pixels whose distances are known.

    Gradients are those of a 5 x 5 Sobel-like kernel, scaled so that a jump by 1 measures 1. Where
    two nuclei touch the distance jumps by 2, which no ramp inside a nucleus comes near.
    Takes maps and target of `nuclei_loss`.
    """
    known = _known(target)
    # Where nothing is known the distance is taken to be right, so that it costs nothing.
    horizontal, vertical = ((maps[:, 1:] - target[:, 1:3]) * known[:, None]).unbind(1)
    squared = _gradient_along_x(horizontal) ** 2 + _gradient_along_x(vertical.mT).mT ** 2
    return (squared * known).sum() / known.sum().clamp(min=1.0)


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


def _known(target: Tensor) -> Tensor:
    return target[:, 3] if target.shape[1] == 4 else target[:, 0]


def _gradient_along_x(maps: Tensor) -> Tensor:
    """(B, H, W) correlated with a 5 x 5 kernel in which each pixel has offset / distance².

    Made of shifted sums: with one channel, torch's convolution is slow on a CPU, most so backward.
    """
    height, width = maps.shape[1:]
    padded = functional.pad(maps, (REACH,) * 4)
    column: list[Tensor] = []  # the pixels at each distance above and below, together
    for y in range(REACH + 1):
        above, below = (padded[:, REACH + shift :][:, :height] for shift in (-y, y))
        column.append(above + below if y else above)
    gradient, positive = torch.zeros_like(maps), 0.0
    for x in range(1, REACH + 1):
        weights = [x / (x**2 + y**2) for y in range(REACH + 1)]
        summed = column[0] * weights[0]
        for weight, pixels in zip(weights[1:], column[1:], strict=True):
            summed = summed.add(pixels, alpha=weight)
        left, right = (summed[:, :, REACH + shift :][:, :, :width] for shift in (-x, x))
        gradient = gradient + right - left
        positive += weights[0] + 2 * sum(weights[1:])
    return gradient / positive
