"""`segmenter.toml`: what a segmenter is. Reading it needs no network's library."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import Field, PositiveFloat, field_validator

from distill.card import CardPart, TrainingCard, read_toml

CARD_NAME = "segmenter.toml"
TAKEN = ("tissue", "nuclei")  # label images that other steps write
Decoder = Literal["unet", "fpn"]
DECODERS: Mapping[Decoder, str] = {"unet": "U-Net", "fpn": "feature pyramid"}


class SegmenterCard(CardPart):
    """The whole of `segmenter.toml`; `classes` are in the order of the network's outputs."""

    format: Literal[1] = 1
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")
    architecture: str
    decoder: Decoder
    classes: tuple[str, ...] = Field(min_length=2, max_length=254)
    mpp: float = Field(gt=0, allow_inf_nan=False)
    mean: tuple[float, float, float]
    std: tuple[PositiveFloat, PositiveFloat, PositiveFloat]
    weights: str
    sha256: str
    training: TrainingCard

    @field_validator("name")
    @classmethod
    def _is_free(cls, name: str) -> str:
        if name in TAKEN:
            raise ValueError(f"labels/{name} is written by another step: choose another name")
        return name


def read_segmenter_card(path: Path) -> SegmenterCard:
    """Read the card of a segmenter from its folder, or beside the weights in it.

    Raises
    ------
    ModelError
        If there is none, or a key is unknown, missing or wrong.
    """
    folder = path.parent if path.is_file() else path
    return read_toml(folder / CARD_NAME, SegmenterCard, made_by="'raypath segment train' makes one")
