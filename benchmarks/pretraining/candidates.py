"""The encoders to compare: model folders named by how they were pretrained."""

import re
from collections.abc import Sequence
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
        If there is none, one is named otherwise, or two names say the same.
    """
    cards = sorted(folder.glob(f"*/{CARD_NAME}"))
    if not cards:
        raise ModelError(f"no model folder ({CARD_NAME}) directly below {folder}")
    candidates = [_candidate(card.parent) for card in cards]
    _refuse_same(candidates)
    return candidates


def _refuse_same(candidates: Sequence[Candidate]) -> None:
    """Refuse folders such as ``rckd-resnet18`` beside ``rckd-resnet18-0``: no number is seed 0.

    Their results would be pooled as those of one pretraining.
    """
    names: dict[tuple[str, str, int], str] = {}
    for of in candidates:
        same = names.setdefault((of.objective, of.architecture, of.seed), of.name)
        if same != of.name:
            raise ModelError(
                f"{of.folder.parent}: {same} and {of.name} are both seed {of.seed} of "
                f"{of.objective}-{of.architecture}: rename or remove one"
            )


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
