"""What every head takes, gives and is trained with."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

# Log-odds beyond which verdicts tell no slides apart: what is frozen are probabilities, and from
# about 36 on float64 has only 1 for them.
SUREST = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class BagOutput:
    """What the head says of a batch of bags.

    Attributes
    ----------
    logits
        (B, C) of the slides.
    attention
        (B, N), not negative, sums to 1 over the real instances of a bag, 0 on padding. Where a
        head has one for each class, it is that of the class with the largest logit.
    tile_logits
        (B, N, C): logits the head gives a bag made of this tile alone. None where such a bag
        means nothing, because the head judges tiles by their neighbours.
    """

    logits: Tensor
    attention: Tensor
    tile_logits: Tensor | None


class Head(nn.Module, ABC):
    """A slide-level head; its answer does not depend on padding.

    Attributes
    ----------
    sizes
        Keyword arguments it was built with, as the model's card keeps them.
    learning_rate
        Of AdamW, where the caller has no better one.
    """

    learning_rate: ClassVar[float] = 1e-3
    sizes: dict[str, int]

    def __init__(self, **sizes: int) -> None:
        super().__init__()
        self.sizes = sizes

    if TYPE_CHECKING:

        def __call__(self, bags: Tensor, bag_mask: Tensor) -> BagOutput:
            """`forward`, with hooks; torch declares it untyped."""

    @abstractmethod
    def forward(self, bags: Tensor, bag_mask: Tensor) -> BagOutput:
        """Score bags.

        Parameters
        ----------
        bags
            (B, N, D) float32 embeddings, padded to the longest bag.
        bag_mask
            (B, N) bool, True on real instances; each bag has at least one.
        """

    def loss(self, bags: Tensor, bag_mask: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        """What training makes small: cross-entropy of the slides, and a head's own terms.

        Parameters
        ----------
        bags, bag_mask
            As for `forward`.
        target
            (B,) int64 classes.
        weight
            (C,) of the classes, so that rare ones are not drowned.
        """
        return weighted_cross_entropy(self(bags, bag_mask).logits, target, weight)


def weighted_cross_entropy(logits: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Mean over bags of the cross-entropy times the weight of the bag's class.

    Written out: torch divides by the weights' sum, so with a batch of one they would cancel.

    Parameters
    ----------
    logits, target, weight
        (B, C), (B,) and (C,).
    """
    return (functional.cross_entropy(logits, target, reduction="none") * weight[target]).mean()


def of_predicted_class(values: Tensor, logits: Tensor) -> Tensor:
    """Of (B, N, C) values, those of the class with the largest logit, (B, N)."""
    best = logits.argmax(dim=1)
    return values[torch.arange(len(best), device=best.device), :, best]


def log_odds(logits: Tensor, index: int) -> Tensor:
    """One class against the rest, whose logistic is the softmax: (B, C) to (B,)."""
    rest = torch.cat([logits[:, :index], logits[:, index + 1 :]], dim=1)
    return logits[:, index] - rest.logsumexp(1)
