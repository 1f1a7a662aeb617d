"""What the segmentation probes share: a fresh light decoder, trained on what an encoder sees."""

from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor, nn

from distill.downstream.view import STRIDE_PX
from distill.encoders import Encoder
from distill.errors import ModelError
from distill.nuclei_net import OUTPUTS, NucleiNet
from distill.pooling import PooledFeatures
from distill.resample import Label, resample, resize_labels
from distill.train import Batch, Schedule, train
from distill.trial import tried
from wsi.slide import Pixels


@dataclass(frozen=True, slots=True, kw_only=True)
class Segmenting:
    """How the decoder is trained: the same budget for every encoder.

    Attributes
    ----------
    mode
        ``"frozen"`` trains the decoder alone, ``"finetune"`` the encoder with it.
    bfloat16
        Whether trainings compute in half precision where torch holds that safe; answers do not.
    """

    mode: Literal["frozen", "finetune"] = "frozen"
    steps: int = 300
    batch_size: int = 16
    crop_px: int = 128
    learning_rate: float = 2e-3
    device: str = "cpu"
    bfloat16: bool = False


class FrozenBackbone(nn.Module):
    """A `NucleiNet` whose encoder neither learns nor updates its running statistics."""

    def __init__(self, net: NucleiNet) -> None:
        super().__init__()
        self.net = net
        net.backbone.requires_grad_(False)

    def train(self, mode: bool = True) -> Self:
        """As any module; the encoder stays in evaluation mode."""
        super().train(mode)
        self.net.backbone.eval()
        return self

    def forward(self, x: Tensor) -> Tensor:
        """As the network's."""
        maps: Tensor = self.net(x)
        return maps


def check_decodable(encoder: Encoder, crop_px: int) -> None:
    """Whether a decoder can be trained on crops and answer for images of other sizes.

    Raises
    ------
    ModelError
        If the encoder is not a timm network, whose inner features the decoder needs, their strides
        are others than `NucleiNet` takes, or the encoder takes tiles of its own size only.
    """
    with torch.random.fork_rng(devices=[]):
        net = _decoder_on(encoder, OUTPUTS)
    for edge in (crop_px, crop_px + STRIDE_PX):
        tried(net, edge, name=encoder.identifier)


def _decoder_on(encoder: Encoder, outputs: int) -> NucleiNet:
    """An untrained decoder on a copy of the encoder."""
    if not isinstance(encoder.module, PooledFeatures):
        raise ModelError(f"{encoder.identifier} has no feature maps to decode")
    return NucleiNet(deepcopy(encoder.module.backbone), outputs=outputs)


def train_decoder(
    encoder: Encoder,
    batches: Callable[[Generator], Iterator[Batch]],
    loss: Callable[[Tensor, Tensor], Tensor],
    settings: Segmenting,
    *,
    outputs: int = OUTPUTS,
    seed: int,
) -> nn.Module:
    """A copy of the encoder with a trained decoder of `outputs` maps at `OUTPUT_STRIDE`.

    Parameters
    ----------
    batches
        Yields (input, target) for the settings' device, drawn by the generator it is given.

    Raises
    ------
    ModelError
        If the encoder is not a timm network, whose inner features the decoder needs, or their
        strides are others than `NucleiNet` takes.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)  # for the decoder's weights
        fresh = _decoder_on(encoder, outputs)
        net = FrozenBackbone(fresh) if settings.mode == "frozen" else fresh
        net = net.to(settings.device).to(memory_format=torch.channels_last)
        schedule = Schedule(steps=settings.steps, learning_rate=settings.learning_rate)
        drawn = batches(Generator().manual_seed(seed))
        train(net, drawn, loss, schedule, bfloat16=settings.bfloat16)
    return net


def at_scale(
    pixels: Pixels, labels: NDArray[Label], factor: float
) -> tuple[Pixels, NDArray[Label]]:
    """An (H, W, 3) image and its (H, W) labels, `factor` times as large; labels do not mix."""
    resized = resample(pixels, factor)
    return resized, resize_labels(labels, (resized.shape[0], resized.shape[1]))


def mirrored(image: NDArray[Any], smallest_px: int) -> NDArray[Any]:
    """Mirror an (H, W, …) image at its right and bottom, until both sides suit the network.

    They are multiples of `STRIDE_PX` then, and at least `smallest_px`.
    """
    wanted = [max(smallest_px, -(-n // STRIDE_PX) * STRIDE_PX) for n in image.shape[:2]]
    around = [(0, edge - n) for edge, n in zip(wanted, image.shape[:2], strict=True)]
    return np.pad(image, around + [(0, 0)] * (image.ndim - 2), mode="symmetric")
