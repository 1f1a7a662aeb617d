"""The encoders to compare: model folders named by how they were pretrained."""

import re
from dataclasses import dataclass
from pathlib import Path

from distill.card import CARD_NAME, ModelCard, read_card
from distill.checkpoint import load_encoder
from distill.encoders import Encoder
from distill.errors import ModelError

# Every objective a comparison should have, the least informed first; others are added after.
OBJECTIVES = ("random", "imagenet", "barlow", "moco", "supervised-nuclei", "rckd")
OURS = "rckd"


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A pretrained encoder's folder, and what its name says of it."""

    name: str
    objective: str
    architecture: str
    seed: int
    folder: Path
    card: ModelCard

    def load(self) -> Encoder:
        """The encoder with its weights."""
        return load_encoder(self.folder, self.card.encoder, self.card.tile)


def find_candidates(folder: Path) -> list[Candidate]:
    """Model folders directly below `folder`, named ``<objective>-<architecture>[-<seed>]``.

    Raises
    ------
    ModelError
        If there is none, or one is named otherwise.
    """
    cards = sorted(folder.glob(f"*/{CARD_NAME}"))
    if not cards:
        raise ModelError(f"no model folder ({CARD_NAME}) directly below {folder}")
    return [_candidate(card.parent) for card in cards]


def _candidate(folder: Path) -> Candidate:
    card = read_card(folder)
    architecture = card.encoder.architecture
    pattern = rf"(?P<objective>.+)-{re.escape(architecture)}(-(?P<seed>\d+))?"
    match = re.fullmatch(pattern, folder.name)
    if match is None:
        raise ModelError(
            f"{folder} is not named <objective>-{architecture} or <objective>-{architecture}-<seed>"
        )
    return Candidate(
        name=folder.name,
        objective=match["objective"],
        architecture=architecture,
        seed=int(match["seed"] or 0),
        folder=folder,
        card=card,
    )
