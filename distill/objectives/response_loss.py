"""What of a teacher's response a student is to repeat, and how exactly: RCKD's ablations.

After Kim, Kwak, Chang, Kim and Kim, Bioengineering 10(11):1279, 2023, whose loss is not
reproduced here. Temperature: Hinton, Vinyals and Dean, Distilling the Knowledge in a Neural
Network, 2015.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from distill.errors import ObjectiveError
from distill.losses import dice_loss, distance_loss, gradient_loss
from distill.objectives.appearance_loss import appearance_loss
from distill.quantise import PROBABILITY_ERROR


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseLoss:
    """A loss of predicted maps and a teacher's.

    The default is that of `distill.losses.nuclei_loss` and `appearance_loss` together.

    Attributes
    ----------
    hard
        The teacher's probability is taken for yes or no, at one half.
    distances
        Whether the distance maps are taught as well as the nuclei map.
    gradients
        Whether the distances' gradients count too, as for a teacher itself.
    temperature
        Above 1, teacher and student are compared after dividing both logits by it: how sure the
        teacher is where it is nearly sure then counts more. The cross-entropy is multiplied by
        its square, so that its gradient keeps its size. Dice is of the probabilities themselves.
    appearance
        Whether the coarsest features are taught what nuclei look like, by `appearance_loss`.

    Raises
    ------
    ObjectiveError
        If two of the options contradict each other.
    """

    hard: bool = False
    distances: bool = True
    gradients: bool = False
    temperature: float = 1.0
    appearance: bool = True

    def __post_init__(self) -> None:
        if self.temperature < 1:
            raise ObjectiveError(f"temperature = {self.temperature:g}: 1 or more is wanted")
        if self.hard and self.temperature != 1:
            raise ObjectiveError(
                f"temperature = {self.temperature:g} softens probabilities, hard responses have "
                "none: choose one of the two"
            )
        if self.gradients and not self.distances:
            raise ObjectiveError("gradients are those of the distances: teach these too")

    def __call__(self, maps: Tensor, target: Tensor) -> Tensor:
        """The loss of a `StudentNet`'s maps.

        Parameters
        ----------
        maps
            (B, 3, H, W) logit and distances, and with `appearance` what a `StudentNet` adds.
        target
            (B, 3, H, W) probability and distances, or (B, 8, H, W) with appearance.
        """
        looks, seen = maps[:, 3:], target
        maps, target = maps[:, :3], target[:, :3]
        target = harden(target) if self.hard else target
        logit, probability = maps[:, 0], target[:, 0]
        loss = soft_cross_entropy(logit, probability, self.temperature)
        loss = loss + dice_loss(logit.sigmoid(), probability)
        if self.distances:
            loss = loss + distance_loss(maps, target)
        if self.gradients:
            loss = loss + gradient_loss(maps, target)
        if self.appearance:
            loss = loss + appearance_loss(looks, seen)
        return loss

    def describe(self) -> str:
        """The options in words, for a model's card."""
        words = ["hard responses" if self.hard else "soft responses"]
        words.append("nuclei and distances" if self.distances else "nuclei alone")
        if self.gradients:
            words.append("with gradients")
        if self.appearance:
            words.append("with appearance")
        if self.temperature != 1:
            words.append(f"temperature {self.temperature:g}")
        return ", ".join(words)


def harden(target: Tensor) -> Tensor:
    """The response of a teacher that only says yes or no; distances remain where it says yes."""
    nuclei = (target[:, :1] >= 0.5).to(target.dtype)
    return torch.cat([nuclei, target[:, 1:] * nuclei], dim=1)


def soft_cross_entropy(logit: Tensor, probability: Tensor, temperature: float) -> Tensor:
    """Cross-entropy at a temperature, times its square; at 1, the usual one."""
    if temperature == 1:
        return functional.binary_cross_entropy_with_logits(logit, probability)
    # Stored probabilities are 0 or 1 where the teacher was surer than they can say.
    known = probability.clamp(PROBABILITY_ERROR, 1 - PROBABILITY_ERROR)
    softened = (known.logit() / temperature).sigmoid()
    loss = functional.binary_cross_entropy_with_logits(logit / temperature, softened)
    return temperature**2 * loss
