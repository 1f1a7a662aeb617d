"""The number that is explained: what the model says of a slide made of one tile alone."""

import torch
from torch import Tensor, nn

from distill.errors import ModelError
from distill.pooling import PooledFeatures
from pipelines.errors import UsageError
from pipelines.mil.heads.head import Head, log_odds
from pipelines.model import Model


class TileScore(nn.Module):
    """Encoder and head as one network: tiles to the log-odds of one class against the others.

    It is the heatmap's `score:<class>`; its logistic is the score from 0 to 1.
    """

    def __init__(
        self, encoder: nn.Module, head: nn.Module, *, index: int, temperature: float = 1.0
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = head
        self.index = index
        self.temperature = temperature

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, S, S) normalised tiles to (B,)."""
        return self.of_embeddings(self.encoder(x))

    def of_embeddings(self, embeddings: Tensor) -> Tensor:
        """(B, D) to (B,): each is a bag of its own."""
        bags = embeddings.float()[:, None]
        logits = self.head(bags, torch.ones(bags.shape[:2], dtype=torch.bool)).logits
        return log_odds(logits / self.temperature, self.index)

    @torch.no_grad()
    def has_feature_maps(self, x: Tensor) -> bool:
        """Whether the encoder averages feature maps, as `features` and `of_features` need."""
        return isinstance(self.encoder, PooledFeatures) and self.encoder.features(x).ndim == 4

    def features(self, x: Tensor) -> Tensor:
        """(B, 3, S, S) to the feature maps that the encoder averages, (B, D, h, w)."""
        return self._pooled.features(x)

    def of_features(self, features: Tensor) -> Tensor:
        """(B, D, h, w) to (B,)."""
        return self.of_embeddings(self._pooled.pool(features))

    @property
    def _pooled(self) -> PooledFeatures:
        if not isinstance(self.encoder, PooledFeatures):
            raise TypeError(f"{type(self.encoder).__name__} has no feature maps")
        return self.encoder


def head_and_class(model: Model, target: str | None = None) -> tuple[Head, str]:
    """The head, and the class that is explained: by default the model's positive one.

    Raises
    ------
    ModelError
        If the model has no head.
    UsageError
        If it knows no such class, or none is given and the model has no positive one.
    """
    if model.head is None:
        raise ModelError(
            f"the model {model.encoder.identifier!r} has no head: it gives embeddings, and there "
            "is no class whose score could be explained; give --model one that predicts ('raypath "
            "mil train' makes one from labelled slides, 'raypath demo' one in demo/model)"
        )
    card = model.head_card
    target = card.positive if target is None else target
    if target is None or target not in card.classes:
        raise UsageError(
            f"--class {target or 'is needed, no class is positive'}: the model's classes are "
            f"{', '.join(card.classes)}"
        )
    return model.head, target


def tile_score(model: Model, target: str | None = None) -> tuple[TileScore, str]:
    """The score of a class for a tile alone, and that class; see `head_and_class`.

    Raises
    ------
    ModelError, UsageError
        As `head_and_class`; and if a tile alone means nothing to the head.
    """
    head, target = head_and_class(model, target)
    card = model.head_card
    with torch.no_grad():
        said = head(torch.zeros(1, 1, model.encoder.dim), torch.ones(1, 1, dtype=torch.bool))
    if said.tile_logits is None:
        raise UsageError(
            f"--tile and --top: {type(head).__name__} judges tiles by their neighbours, so a tile "
            "alone has no score; give --regions N with --run, or a model with another head, such "
            "as gated-abmil"
        )
    index = card.classes.index(target)
    score = TileScore(model.encoder.module, head, index=index, temperature=card.temperature)
    return score.eval(), target
