"""From a timm network's feature maps to an embedding: averages over space."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from distill.card import Features
from distill.errors import ModelError


class PooledFeatures(nn.Module):
    """A timm network without its head: the last feature map, averaged over space."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, S, S) to (B, D)."""
        return self.pool(self.features(x))

    def features(self, x: Tensor) -> Tensor:
        """(B, 3, S, S) to what is averaged: maps (B, D, h, w), or tokens (B, T, D)."""
        features: Tensor = self.backbone.forward_features(x)  # type: ignore[operator]
        return channels_first(self.backbone, _one(features, self.backbone))

    def pool(self, features: Tensor) -> Tensor:
        """The features to (B, D)."""
        if features.ndim == 4:
            return features.mean((2, 3))
        # Token models know which of their tokens stand for the image.
        tokens: Tensor = self.backbone.forward_head(features, pre_logits=True)  # type: ignore[operator]
        return tokens


class StagedFeatures(PooledFeatures):
    """A convolutional timm network without its head: the feature maps of all stages, averaged.

    What nuclei are made of, colour and fine texture, early stages tell best, and a network that
    is trained to find nuclei need not carry it to its last.

    Raises
    ------
    ModelError
        If the network has no stages: its features all have one stride, as tokens do.
    """

    def __init__(self, backbone: nn.Module) -> None:
        if not has_stages(backbone):
            raise ModelError(
                f"{type(backbone).__name__} has no stages: its embedding is made of the 'last' "
                "features"
            )
        super().__init__(backbone)

    def features(self, x: Tensor) -> Tensor:
        """(B, 3, S, S) to all stages' maps as coarse as the last, (B, D, h, w), from fine on."""
        *finer, last = stages_of(self.backbone, x)
        grid = last.shape[2], last.shape[3]
        return torch.cat([*(functional.adaptive_avg_pool2d(of, grid) for of in finer), last], dim=1)


def stages_of(backbone: nn.Module, x: Tensor, indices: list[int] | None = None) -> list[Tensor]:
    """Feature maps (B, D, h, w) of stages, by default all, the last of them as it is pooled."""
    last, maps = backbone.forward_intermediates(x, indices=indices)  # type: ignore[operator]
    last = _one(last, backbone)
    # Some that have stages end in tokens all the same: theirs are in the last of the maps.
    return [*maps[:-1], channels_first(backbone, last) if last.ndim == 4 else maps[-1]]


def _one(features: Tensor | list[Tensor], backbone: nn.Module) -> Tensor:
    if isinstance(features, Tensor):
        return features
    raise ModelError(
        f"{type(backbone).__name__} answers with its features as a {type(features).__name__} of "
        f"{len(features)}, of which no embedding is made: choose another network"
    )


def channels_first(backbone: nn.Module, features: Tensor) -> Tensor:
    """A timm network's last features as (B, D, h, w), where they are a map of another order."""
    channels_are_last = features.ndim == 4 and getattr(backbone, "output_fmt", "NCHW") == "NHWC"
    return features.permute(0, 3, 1, 2) if channels_are_last else features


def has_stages(backbone: nn.Module) -> bool:
    """Whether a timm network's features become coarser, which those of token models do not."""
    info: list[dict[str, int]] = list(getattr(backbone, "feature_info", ()))
    return bool(info) and info[0]["reduction"] != info[-1]["reduction"]


def pooled(backbone: nn.Module, features: Features | None = None) -> PooledFeatures:
    """The network with what its embedding is made of; None for its stages, if it has some.

    Raises
    ------
    ModelError
        As `StagedFeatures`.
    """
    features = features or ("stages" if has_stages(backbone) else "last")
    return StagedFeatures(backbone) if features == "stages" else PooledFeatures(backbone)
