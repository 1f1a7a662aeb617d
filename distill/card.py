"""`model.toml`: what a model is, what it wants to see, and what it was trained on."""

import tomllib
from pathlib import Path
from typing import Literal, TypeVar

import tomli_w
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    model_validator,
)

from distill.errors import ModelError
from wsi.atomic import digest, replacing
from wsi.plan import TileSpec

CARD_NAME = "model.toml"
LARGEST_TILE_PX = 8192  # a batch of more fits no memory
C = TypeVar("C", bound="CardPart")


class CardPart(BaseModel):
    """A table of the card: immutable, and a key it does not know is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


Features = Literal["last", "stages"]


class EncoderCard(CardPart):
    """The encoder: architecture by name, weights by digest; never code.

    An embedding averages its last feature map alone, or that of every stage (`distill.pooling`).
    """

    architecture: str
    features: Features = "last"
    identifier: str
    dim: int = Field(gt=0)
    mean: tuple[float, float, float]
    std: tuple[PositiveFloat, PositiveFloat, PositiveFloat]
    weights: str | None = None
    sha256: str | None = None
    licence: str

    @model_validator(mode="after")
    def _weights_have_a_digest(self) -> "EncoderCard":
        if self.weights is not None and not self.sha256:
            raise ValueError(f"weights = {self.weights!r} without their sha256 are not loaded")
        return self


class TileCard(CardPart):
    """The tiles the encoder wants."""

    size_px: int = Field(gt=0, le=LARGEST_TILE_PX)
    mpp: float = Field(gt=0, allow_inf_nan=False)

    @property
    def spec(self) -> TileSpec:
        """The same as the geometry code takes it."""
        return TileSpec(size_px=self.size_px, mpp=self.mpp)


class OperatingPoint(CardPart):
    """Where scores become a verdict: chosen once, on slides that no test used.

    Scores within `uncertain` are verdicts to be checked by a person.
    """

    threshold: float = Field(ge=0, le=1)
    criterion: str
    chosen_on: str
    uncertain: tuple[float, float] | None = None

    @model_validator(mode="after")
    def _band_holds_the_threshold(self) -> "OperatingPoint":
        if (
            self.uncertain
            and not 0 <= self.uncertain[0] <= self.threshold <= self.uncertain[1] <= 1
        ):
            raise ValueError(f"uncertain = {self.uncertain} is no band around {self.threshold}")
        return self


HeadKind = Literal[
    "mean", "max", "gated-abmil", "clam-sb", "clam-mb", "dsmil", "transmil", "dtfd", "acmil"
]


class HeadCard(CardPart):
    """The slide-level head.

    `sizes` are those its kind is built with; its logits are divided by `temperature` before they
    become scores. Where no class is `positive`, as with grades, there is no operating point
    either: the verdict is the most probable class.
    """

    kind: HeadKind
    classes: tuple[str, ...] = Field(min_length=2)
    positive: str | None = None
    sizes: dict[str, PositiveInt] = Field(default_factory=dict)
    weights: str
    sha256: str
    operating_point: OperatingPoint | None = None
    calibrated: bool = False
    temperature: PositiveFloat = 1.0

    @model_validator(mode="after")
    def _positive_is_a_class(self) -> "HeadCard":
        if self.positive is not None and self.positive not in self.classes:
            raise ValueError(f"positive = {self.positive!r} is not one of classes {self.classes}")
        if (self.positive is None) != (self.operating_point is None):
            raise ValueError("positive and operating_point belong together: give both or neither")
        return self


class TrainingCard(CardPart):
    """Where the weights come from; the licence of the data binds the model."""

    data: str
    data_licence: str
    method: str
    measures: dict[str, float] = Field(default_factory=dict)


class ModelCard(CardPart):
    """The whole of `model.toml`. A model without a head gives embeddings only."""

    format: Literal[1] = 1
    encoder: EncoderCard
    tile: TileCard
    head: HeadCard | None = None
    training: TrainingCard


class HeadFile(CardPart):
    """The whole of `head.toml`: a head whose encoder is not there, for embeddings made elsewhere.

    `encoder` and `encoder_sha256` are what the files of embeddings call it, perhaps nothing;
    `dim` is the length of its embeddings.
    """

    format: Literal[1] = 1
    encoder: str
    encoder_sha256: str
    dim: int = Field(gt=0)
    head: HeadCard
    training: TrainingCard


def weights_path(folder: Path, name: str) -> Path:
    """Where a card's weights are; a name that leads out of the model's folder is refused."""
    if Path(name).name != name or name in ("", ".."):
        raise ModelError(f"weights = {name!r}: a file name inside {folder} is wanted")
    return folder / name


def weights_file(given: Path, *, card_name: str, weights: str) -> Path:
    """The weights of a network that is given by its folder, its card, or the weights in it."""
    if given.is_file() and given.name != card_name:
        return given
    return weights_path(given.parent if given.is_file() else given, weights)


def check_weights(path: Path, sha256: str | None) -> None:
    """Whether a file is the one a card names, by its bytes alone.

    Raises
    ------
    ModelError
        If it is missing, or has another digest than `sha256`; None stands for any.
    """
    if not path.is_file():
        raise ModelError(f"weights are missing: {path}")
    if sha256:
        check_digest(path, digest(path), sha256)


def check_digest(path: Path, found: str, wanted: str) -> None:
    """Raise a `ModelError` where the two are not the same."""
    if found != wanted:
        raise ModelError(f"{path} has SHA-256 {found[:12]}…, its card says {wanted[:12]}…")


def write_card(folder: Path, card: ModelCard) -> None:
    """Write `model.toml` into a model's folder."""
    write_toml(folder / CARD_NAME, card)


def read_card(folder: Path) -> ModelCard:
    """Read `model.toml`.

    Raises
    ------
    ModelError
        If the folder or the file is missing, or a key is unknown, missing or wrong.
    """
    return read_toml(
        folder / CARD_NAME, ModelCard, made_by="'raypath demo' makes one in demo/model"
    )


def write_toml(path: Path, card: CardPart) -> None:
    """Write a card as TOML, whole or not at all."""
    with replacing(path) as tmp:
        tmp.write_text(tomli_w.dumps(card.model_dump(exclude_none=True, mode="json")))


def read_toml(path: Path, card: type[C], *, made_by: str) -> C:
    """Read a card; `made_by` is the hint for where there is none.

    Raises
    ------
    ModelError
        As `read_card`.
    """
    try:
        return card.model_validate(tomllib.loads(path.read_text()))
    except OSError as error:
        raise ModelError(
            f"no model at {path.parent}: it needs a {path.name} and its weights; {made_by}"
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ModelError(f"{path} is not valid TOML: {error}") from error
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise ModelError(f"{path}: {wrong}") from error
