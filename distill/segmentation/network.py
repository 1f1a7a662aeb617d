"""Networks that give every pixel a class: a U-Net or a light FPN on any timm encoder."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from distill.card import read_card
from distill.checkpoint import NETWORK_WEIGHTS, load_encoder, load_weights
from distill.double import double
from distill.encoders import IMAGENET_MEAN, IMAGENET_STD, create_backbone
from distill.errors import ModelError
from distill.nuclei_net import NucleiNet
from distill.pooling import PooledFeatures
from distill.segmentation.card import Decoder
from distill.teachers.network import STRIDE, TeacherNet


class PyramidNet(nn.Module):
    """A student's light decoder with one map a class, enlarged from stride 2 to every pixel."""

    def __init__(self, net: NucleiNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) normalised pixels to (B, K, H, W) logits; H and W multiples of 32."""
        return double(self.net(x))


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """A network to train, and what its encoder is.

    Attributes
    ----------
    net
        Maps (B, 3, H, W) normalised pixels to (B, K, H, W) logits.
    architecture
        The timm name of its encoder.
    decoder
        The kind of its decoder.
    mean, std
        Normalisation of pixels in 0-1.
    pretraining
        Where the weights come from, for the card.
    licence
        Of those weights.
    """

    net: nn.Module
    architecture: str
    decoder: Decoder
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    pretraining: str
    licence: str | None


def build_network(architecture: str, decoder: Decoder, *, outputs: int, seed: int = 0) -> nn.Module:
    """A network with random weights.

    Raises
    ------
    ModelError
        If there is no such encoder, or it has no features for the decoder.
    """
    return _on(create_backbone(architecture, seed=seed), architecture, decoder, outputs)


def start_network(
    encoder: str,
    *,
    outputs: int,
    decoder: Decoder | None = None,
    keep_decoder: bool = False,
    seed: int = 0,
) -> Start:
    """A network to train from a timm name, with random weights, or from a pretrained model.

    Parameters
    ----------
    encoder
        A timm network's name, or the folder of a model as `raypath pretrain` writes it.
    decoder
        By default a feature pyramid on a pretrained encoder, since that is small and leaves the
        work to the encoder, and a U-Net otherwise.
    keep_decoder
        Start from the decoder that the model was pretrained with, too; only its last layer is
        new.

    Raises
    ------
    ModelError
        If there is no such encoder, or no decoder to keep.
    """
    folder = Path(encoder)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if not folder.is_dir():
            if keep_decoder:
                raise ModelError(
                    f"--decoder kept: {encoder} is a network without weights; give the folder of "
                    f"a model with {NETWORK_WEIGHTS}, or --decoder fresh"
                )
            kind = decoder or "unet"
            return Start(
                net=_on(create_backbone(encoder, seed=seed), encoder, kind, outputs),
                architecture=encoder,
                decoder=kind,
                mean=IMAGENET_MEAN,
                std=IMAGENET_STD,
                pretraining="random weights",
                licence=None,
            )
        return _start_from_model(folder, outputs, decoder or "fpn", keep_decoder=keep_decoder)


def _start_from_model(folder: Path, outputs: int, decoder: Decoder, *, keep_decoder: bool) -> Start:
    card = read_card(folder)
    architecture = card.encoder.architecture
    if keep_decoder:
        net: nn.Module = _kept(folder, architecture, decoder, outputs)
    else:
        module = load_encoder(folder, card.encoder, card.tile).module
        if not isinstance(module, PooledFeatures):
            raise ModelError(f"{architecture} has no feature maps to segment with")
        net = _on(module.backbone, architecture, decoder, outputs)
    what = "encoder and decoder" if keep_decoder else "encoder"
    return Start(
        net=net,
        architecture=architecture,
        decoder=decoder,
        mean=card.encoder.mean,
        std=card.encoder.std,
        pretraining=f"{what} of {card.encoder.identifier}: {card.training.method}",
        licence=card.encoder.licence,
    )


def _kept(folder: Path, architecture: str, decoder: Decoder, outputs: int) -> PyramidNet:
    weights = folder / NETWORK_WEIGHTS
    if decoder != "fpn":
        raise ModelError(f"--decoder kept: a model's decoder is a feature pyramid, not {decoder}")
    if not weights.is_file():
        raise ModelError(
            f"--decoder kept: {folder} holds no {NETWORK_WEIGHTS}, which only pretraining that "
            "predicts nuclei leaves (rckd, supervised-nuclei); give --decoder fresh"
        )
    net = NucleiNet(create_backbone(architecture))
    load_weights(net, weights, sha256=None)
    net.head = nn.Conv2d(net.head.in_channels, outputs, 1)
    return PyramidNet(net)


def _on(backbone: nn.Module, architecture: str, decoder: Decoder, outputs: int) -> nn.Module:
    try:
        strides = [level["reduction"] for level in backbone.feature_info]  # type: ignore[union-attr]
    except (AttributeError, TypeError) as error:
        raise ModelError(f"{architecture} does not tell its feature maps to timm") from error
    if decoder == "fpn":
        return PyramidNet(NucleiNet(backbone, outputs=outputs))
    if STRIDE not in strides:
        raise ModelError(
            f"{architecture} has features at strides {sorted(set(strides))} and a U-Net needs "
            f"one at {STRIDE}: give --network fpn"
        )
    return TeacherNet(backbone, outputs=outputs)
