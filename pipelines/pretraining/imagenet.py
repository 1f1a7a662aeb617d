"""An encoder of weights that others trained on ImageNet, from a file; nothing is fetched."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from distill.card import Features, ModelCard, TileCard, TrainingCard
from distill.checkpoint import describe_encoder
from distill.encoders import IMAGENET_MEAN, IMAGENET_STD, create_backbone, encoder_of
from distill.errors import ModelError
from distill.seen import SEEN_NAME, Seen, write_seen
from pipelines.model import save_model
from wsi.atomic import digest
from wsi.plan import TileSpec


def import_imagenet(
    weights: Path,
    architecture: str,
    out: Path,
    *,
    spec: TileSpec,
    licence: str,
    features: Features | None = None,
    half: bool = False,
) -> None:
    """Write the folder of an encoder with the weights of a file, as that of a pretraining.

    Parameters
    ----------
    weights
        A state dict of the timm network, as safetensors or as PyTorch saves it; its classifier,
        if it has one, is left out.
    spec
        The tiles the model is to take.
    licence
        Of the weights.
    features
        As for `distill.pooling.pooled`.

    Raises
    ------
    ModelError
        If there is no such network, it has no such `features`, or the file is not its state dict.
    """
    backbone = create_backbone(architecture)
    known: Mapping[str, Any] = getattr(backbone, "pretrained_cfg", None) or {}
    _load(backbone, weights, classifier=known.get("classifier") or ())
    encoder = replace(
        encoder_of(
            backbone,
            identifier=f"{architecture}-imagenet",
            spec=spec,
            licence=licence,
            features=features,
        ),
        mean=tuple(known.get("mean", IMAGENET_MEAN)),
        std=tuple(known.get("std", IMAGENET_STD)),
    )
    card = ModelCard(
        encoder=describe_encoder(encoder, architecture=architecture),
        tile=TileCard(size_px=spec.size_px, mpp=spec.mpp),
        training=TrainingCard(
            data="ImageNet, as whoever gave the weights says",
            data_licence=licence,
            method=f"ImageNet, supervised, weights from {weights.name} (sha256 {digest(weights)})",
        ),
    )
    save_model(out, card, encoder, half=half)
    write_seen(out / SEEN_NAME, Seen(unlisted=("ImageNet",)))


def _load(backbone: nn.Module, path: Path, *, classifier: str | tuple[str, ...]) -> None:
    names = (classifier,) if isinstance(classifier, str) else classifier
    heads = tuple(f"{name}." for name in names)
    state = {name: value for name, value in _read(path).items() if not name.startswith(heads)}
    try:
        backbone.load_state_dict(state)
    except RuntimeError as error:
        raise ModelError(
            f"--weights {path} is no state dict of this network as timm names its parts: {error}"
        ) from error


def _read(path: Path) -> dict[str, Tensor]:
    """A state dict; reading executes nothing from the file."""
    try:
        if path.suffix == ".safetensors":
            state: Any = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, EOFError, RuntimeError, UnpicklingError, SafetensorError) as error:
        raise ModelError(f"--weights {path} cannot be read as weights: {error}") from error
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise ModelError(f"--weights {path}: a state dict is wanted, names with tensors alone")
    return state
