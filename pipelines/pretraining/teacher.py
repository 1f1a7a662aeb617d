"""What the card of a student says of its teacher."""

from pathlib import Path

from distill.seen import TEACHER_SEEN_NAME, Seen, read_seen
from distill.teachers.card import AnyCard, TeacherCard


def training_cost(card: AnyCard) -> dict[str, float]:
    """For a student's card: what its teacher's own training took, where the teacher's says it."""
    measures = card.training.measures if isinstance(card, TeacherCard) else {}
    seconds = measures.get("training_seconds")
    return {} if seconds is None else {"teacher_training_seconds": seconds}


def seen_by_teacher(folder: Path) -> Seen:
    """The images a teacher was trained on; where its folder does not say it, that they lack."""
    return read_seen(folder / TEACHER_SEEN_NAME) or Seen(unlisted=("the teacher's images",))
