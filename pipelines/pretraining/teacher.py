"""The teacher of a pretraining, from its folder."""

from dataclasses import dataclass
from pathlib import Path

from torch import nn

from distill.seen import TEACHER_SEEN_NAME, Seen, read_seen
from distill.teachers.card import AnyCard, TeacherCard, read_teacher_card
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


def training_cost(card: AnyCard) -> dict[str, float]:
    """For a student's card: what its teacher's own training took, where the teacher's says it."""
    measures = card.training.measures if isinstance(card, TeacherCard) else {}
    seconds = measures.get("training_seconds")
    return {} if seconds is None else {"teacher_training_seconds": seconds}


def seen_by_teacher(folder: Path) -> Seen:
    """The images a teacher was trained on; where its folder does not say it, that they lack."""
    return read_seen(folder / TEACHER_SEEN_NAME) or Seen(unlisted=("the teacher's images",))
