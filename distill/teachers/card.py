"""`teacher.toml`: what a teacher is, ours or published. Reading it needs no network's library."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, PositiveFloat

from distill.card import CardPart, TrainingCard, read_toml
from distill.teachers.postprocess import Thresholds

CARD_NAME = "teacher.toml"
WIDTHS = (256, 128, 64, 48)  # of the decoder at strides 16, 8, 4, 2
Width = Annotated[int, Field(ge=1, le=4096)]


class ThresholdsCard(CardPart):
    """`distill.teachers.postprocess.Thresholds` as chosen on the validation images."""

    nuclei: float = Field(gt=0, lt=1)
    depth: float = Field(gt=0, lt=1)
    smooth_px: PositiveFloat
    least_px: int = Field(ge=1)


class TeacherCard(CardPart):
    """The whole of the `teacher.toml` of a teacher that `raypath teacher train` made."""

    format: Literal[1] = 1
    kind: Literal["unet"] = "unet"
    architecture: str
    widths: tuple[Width, Width, Width, Width] = WIDTHS
    mpp: float = Field(gt=0, allow_inf_nan=False)
    weights: str
    sha256: str
    thresholds: ThresholdsCard
    training: TrainingCard

    @property
    def data(self) -> str:
        """What it was trained on."""
        return self.training.data

    @property
    def licence(self) -> str:
        """Of that data, which binds the teacher."""
        return self.training.data_licence


class PublishedCard(CardPart):
    """The whole of the `teacher.toml` of a teacher that others published.

    `weights` is the file as published, beside the card; `sha256` the digest that is asked for.
    """

    format: Literal[1] = 1
    kind: str
    weights: str
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    licence: str = Field(min_length=1)
    data: str = "see where it was published"

    @property
    def architecture(self) -> str:
        """The kind says it."""
        return self.kind


class InstanSegCard(PublishedCard):
    """See `distill.teachers.published.instanseg`."""

    kind: Literal["instanseg"]
    mpp: float = Field(0.5, gt=0, allow_inf_nan=False)
    thresholds: ThresholdsCard = ThresholdsCard(nuclei=0.5, depth=0.2, smooth_px=0.5, least_px=10)


class HoverNetCard(PublishedCard):
    """See `distill.teachers.published.hovernet`."""

    kind: Literal["hovernet"]
    mpp: float = Field(0.25, gt=0, allow_inf_nan=False)
    thresholds: ThresholdsCard = ThresholdsCard(**asdict(Thresholds()))


AnyCard = TeacherCard | InstanSegCard | HoverNetCard
CARDS: dict[str, type[AnyCard]] = {
    "unet": TeacherCard,
    "instanseg": InstanSegCard,
    "hovernet": HoverNetCard,
}


class _Kind(CardPart):
    """The one key that says which card it is."""

    model_config = ConfigDict(extra="ignore")
    kind: Literal["unet", "instanseg", "hovernet"] = "unet"


def read_teacher_card(path: Path) -> AnyCard:
    """Read the card of a teacher from its folder, or beside the weights in it.

    Raises
    ------
    ModelError
        If there is none, or a key is unknown, missing or wrong.
    """
    folder = path.parent if path.is_file() else path
    made_by = "'raypath teacher train' makes one"
    kind = read_toml(folder / CARD_NAME, _Kind, made_by=made_by).kind
    return read_toml(folder / CARD_NAME, CARDS[kind], made_by=made_by)
