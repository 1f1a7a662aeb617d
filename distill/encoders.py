"""Tile encoders: a network with everything needed to use it rightly, by name.

Any timm architecture is an encoder; `ENCODERS` holds the ones that are not from timm.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any

import numpy as np
import timm
import timm.models
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import distill.students  # noqa: F401  # registers the networks that timm does not have
from distill.card import Features
from distill.device import check_device, no_memory_left
from distill.errors import ModelError
from distill.pooling import StagedFeatures, pooled
from distill.trial import tried
from wsi.plan import TileSpec
from wsi.slide import Pixels

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoder:
    """A frozen tile model.

    Attributes
    ----------
    module
        Maps (B, 3, S, S) normalised float32 to embeddings (B, `dim`).
    mean, std
        Normalisation of pixels in 0-1, by channel.
    spec
        The tiles it wants: edge in pixels and µm per pixel.
    dim
        Length of an embedding.
    identifier
        Architecture and pretraining in one word, stored beside every embedding.
    licence
        Of the weights, which is that of the data they were trained on.
    device
        Where the module is, as PyTorch names it.
    """

    module: nn.Module
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    spec: TileSpec
    dim: int
    identifier: str
    licence: str
    device: str = "cpu"

    def on(self, device: str) -> "Encoder":
        """The same encoder on another device, to which its module moves.

        Raises
        ------
        ModelError
            If this process sees no such device.
        """
        if device == self.device:
            return self
        check_device(device)
        return replace(self, module=self.module.to(device), device=device)

    def normalise(self, pixels: Pixels) -> Tensor:
        """Turn (B, S, S, 3) uint8 tiles into the (B, 3, S, S) float32 the module takes."""
        return normalise(torch.from_numpy(pixels), mean=self.mean, std=self.std)

    def embed(self, pixels: Pixels, *, bfloat16: bool = False) -> NDArray[np.float32]:
        """Embed (B, S, S, 3) uint8 tiles: (B, D) float32, perhaps computed in bfloat16.

        A batch for which the device has no memory left goes through in halves: others may use it.

        Raises
        ------
        DeviceMemoryError
            If a single tile does not fit.
        """
        if len(pixels) == 0:
            return np.zeros((0, self.dim), np.float32)
        try:
            return self._embed_at_once(pixels, bfloat16=bfloat16)
        except torch.OutOfMemoryError as error:
            if len(pixels) == 1:
                what = f"a single tile of {self.spec.size_px} px"
                raise no_memory_left(self.device, what, error) from error
        # Not in the handler, where the error holds on to what the failed try had taken.
        middle = len(pixels) // 2
        parts = (pixels[:middle], pixels[middle:])
        return np.concatenate([self.embed(part, bfloat16=bfloat16) for part in parts])

    @torch.inference_mode()
    def _embed_at_once(self, pixels: Pixels, *, bfloat16: bool) -> NDArray[np.float32]:
        tiles = self.normalise(pixels).to(self.device)
        with torch.autocast(tiles.device.type, torch.bfloat16, enabled=bfloat16):
            embeddings: Tensor = self.module(tiles)
        return embeddings.float().cpu().numpy()


def normalise(
    pixels: Tensor,
    *,
    mean: tuple[float, ...] = IMAGENET_MEAN,
    std: tuple[float, ...] = IMAGENET_STD,
) -> Tensor:
    """(B, H, W, 3) uint8 or 0-255 float to (B, 3, H, W) float32, channels last in memory."""
    batch, height, width, channels = pixels.shape
    # Rows of numbers, not of pixels: three at a time leave a processor's lanes nearly empty.
    rows = pixels.reshape(batch, height, width * channels).float()
    by_channel = [1 / (255 * s) for s in std], [-m / s for m, s in zip(mean, std, strict=True)]
    slope, offset = (torch.tensor(v, device=pixels.device).repeat(width) for v in by_channel)
    normal = torch.addcmul(offset, rows, slope)
    return normal.view(batch, height, width, channels).permute(0, 3, 1, 2)


class MeanColour(nn.Module):
    """The mean colour of a tile: the baseline without a network, and an exact fiducial."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, S, S) to (B, 3)."""
        return x.double().mean((2, 3))


def create_backbone(architecture: str, *, seed: int = 0) -> nn.Module:
    """A timm network by name, without a classifier and with random weights fixed by `seed`.

    Raises
    ------
    ModelError
        If timm has no network of that name; the message proposes similar ones.
    """
    known = timm.list_models()
    if architecture not in known:
        close = get_close_matches(architecture, known, n=3)
        hint = f"did you mean {', '.join(close)}?" if close else "see timm.list_models()"
        raise ModelError(f"no encoder is called {architecture!r}: {hint}")
    # Vision transformers are built for one input size unless told to resample their positions.
    resampled = timm.models.is_model_in_modules(architecture, ["vision_transformer"])
    options: dict[str, Any] = {"dynamic_img_size": True} if resampled else {}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        backbone: nn.Module = timm.create_model(
            architecture, pretrained=False, num_classes=0, **options
        )
    return backbone


def encoder_of(
    backbone: nn.Module,
    *,
    identifier: str,
    spec: TileSpec,
    licence: str,
    features: Features | None = "last",
) -> Encoder:
    """Make an encoder of a network from `create_backbone`, in evaluation mode.

    `features` are as for `distill.pooling.pooled`; those of stages are said in the identifier.

    Raises
    ------
    ModelError
        If `features` are stages that the network does not have, or it does not take such tiles.
    """
    module = pooled(backbone, features).eval().to(memory_format=torch.channels_last)
    dim = tried(module, spec.size_px, name=identifier).shape[1]
    if isinstance(module, StagedFeatures):
        identifier += "-stages"
    return Encoder(
        module=module,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        spec=spec,
        dim=dim,
        identifier=identifier,
        licence=licence,
    )


def _mean_colour(spec: TileSpec) -> Encoder:
    return Encoder(
        module=MeanColour().eval(),
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
        spec=spec,
        dim=3,
        identifier="mean-colour",
        licence="Apache-2.0",
    )


ENCODERS: Mapping[str, Callable[[TileSpec], Encoder]] = {"mean-colour": _mean_colour}


def create_encoder(
    architecture: str, *, spec: TileSpec, seed: int = 0, features: Features = "last"
) -> Encoder:
    """An encoder by name: one of `ENCODERS`, or a timm network with random weights.

    Raises
    ------
    ModelError
        If there is no such network, or it has no such `features`.
    """
    if architecture in ENCODERS:
        if features != "last":
            raise ModelError(f"{architecture} has no stages: features = 'last' is all it has")
        return ENCODERS[architecture](spec)
    return encoder_of(
        create_backbone(architecture, seed=seed),
        identifier=f"{architecture}-random",
        spec=spec,
        licence="Apache-2.0",
        features=features,
    )
