"""The teacher of a pretraining, from its folder."""

from dataclasses import dataclass
from pathlib import Path

from torch import nn

from distill.teachers.card import read_teacher_card
from distill.teachers.teacher import load_teacher


@dataclass(frozen=True, slots=True, kw_only=True)
class TeacherNetwork:
    """A teacher: its network, its µm per pixel, its weights' digest and licence."""

    net: nn.Module
    mpp: float
    sha256: str
    licence: str


def read_teacher(folder: Path) -> TeacherNetwork:
    """Read a teacher's folder.

    Raises
    ------
    ModelError
        If card or weights are missing, or the weights are not those of the card.
    """
    loaded = load_teacher(folder)
    card = read_teacher_card(folder)
    return TeacherNetwork(
        net=loaded.net,
        mpp=loaded.mpp,
        sha256=loaded.sha256,
        licence=card.licence,
    )
