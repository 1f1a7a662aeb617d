"""Weights on disk: safetensors, checked against the digest in the card, loaded without code."""

import hashlib
import math
from copy import deepcopy
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_model, save_model
from torch import nn

from distill.card import EncoderCard, TileCard, check_digest, check_weights, weights_path
from distill.encoders import Encoder, create_encoder
from distill.errors import ModelError
from distill.pooling import StagedFeatures
from wsi.atomic import digest, replacing

ENCODER_WEIGHTS = "encoder.safetensors"
NETWORK_WEIGHTS = "network.safetensors"  # encoder and decoder, of what predicts nuclei


def save_weights(module: nn.Module, path: Path, *, half: bool = False) -> str:
    """Write a module's weights, perhaps in half precision; returns their SHA-256.

    Raises
    ------
    ModelError
        If some of them are not finite, or would not be in half precision.
    """
    _check_finite(module, path, half=half)
    with replacing(path) as tmp:
        tmp.touch()
        mode = tmp.stat().st_mode
        save_model(deepcopy(module).half() if half else module, str(tmp))
        tmp.chmod(mode)  # safetensors lets nobody but the owner read
    return digest(path)


def load_weights(module: nn.Module, path: Path, *, sha256: str | None) -> None:
    """Load weights in place, converted to the module's precision.

    Raises
    ------
    ModelError
        If the file is missing, has another digest than `sha256`, or does not fit the module.
    """
    check_weights(path, sha256)
    try:
        load_model(module, str(path))
    except (RuntimeError, SafetensorError) as error:
        raise ModelError(f"{path} does not fit the architecture in its card: {error}") from error


def read_checked(path: Path, *, sha256: str) -> BytesIO:
    """Read a file whole; what is returned is what had the digest, whatever the file is by now.

    Raises
    ------
    ModelError
        If the file is missing, or has another digest than `sha256`.
    """
    check_weights(path, None)
    stored = path.read_bytes()
    check_digest(path, hashlib.sha256(stored).hexdigest(), sha256)
    return BytesIO(stored)


def save_encoder(
    encoder: Encoder, folder: Path, *, architecture: str, half: bool = False
) -> EncoderCard:
    """Write an encoder's weights into a model's folder and describe it."""
    has_weights = _has_weights(encoder.module)
    path = folder / ENCODER_WEIGHTS
    sha256 = save_weights(encoder.module, path, half=half) if has_weights else None
    weights = ENCODER_WEIGHTS if has_weights else None
    card = describe_encoder(encoder, architecture=architecture)
    return card.model_copy(update={"weights": weights, "sha256": sha256})


def describe_encoder(encoder: Encoder, *, architecture: str) -> EncoderCard:
    """The card of an encoder whose weights are not in any folder yet."""
    return EncoderCard(
        architecture=architecture,
        features="stages" if isinstance(encoder.module, StagedFeatures) else "last",
        identifier=encoder.identifier,
        dim=encoder.dim,
        mean=encoder.mean,
        std=encoder.std,
        licence=encoder.licence,
    )


def load_encoder(folder: Path, card: EncoderCard, tile: TileCard) -> Encoder:
    """Build the encoder a card names and load its weights from the model's folder.

    Raises
    ------
    ModelError
        If the card names no weights for a network that has some, or names others than it found.
    """
    built = create_encoder(card.architecture, spec=tile.spec, features=card.features)
    if card.weights is not None:
        load_weights(built.module, weights_path(folder, card.weights), sha256=card.sha256)
    elif _has_weights(built.module):
        raise ModelError(f"the card of {card.identifier} names no weights for {card.architecture}")
    if built.dim != card.dim:
        raise ModelError(
            f"{card.architecture} gives embeddings of {built.dim}, the card says {card.dim}"
        )
    return replace(
        built,
        module=built.module.eval(),
        mean=card.mean,
        std=card.std,
        identifier=card.identifier,
        licence=card.licence,
    )


def _check_finite(module: nn.Module, path: Path, *, half: bool) -> None:
    limit = torch.finfo(torch.float16).max
    for name, weights in module.state_dict().items():
        if not weights.is_floating_point() or not weights.numel():
            continue
        greatest = weights.abs().max().item()  # NaN, if there is one
        if not math.isfinite(greatest):
            raise ModelError(
                f"{path}: {name} reaches {greatest}, so the network answers nothing of use and is "
                "not saved: train it anew with a lower learning rate"
            )
        if half and greatest > limit:
            raise ModelError(
                f"{path}: {name} reaches {greatest:g}, and half precision ends at {limit:g}: "
                "save it without --half"
            )


def _has_weights(module: nn.Module) -> bool:
    return any(True for _ in module.parameters())
