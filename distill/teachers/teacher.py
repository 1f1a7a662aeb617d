"""A teacher, ours or published: its card, its folder, and the nuclei it finds."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import ConfigDict, Field, PositiveFloat
from torch import nn

from distill.card import CardPart, TrainingCard, read_toml, write_toml
from distill.checkpoint import load_weights, read_checked, save_weights, weights_path
from distill.encoders import create_backbone
from distill.errors import ModelError
from distill.teachers.labelled import Instances
from distill.teachers.network import WIDTHS, TeacherNet
from distill.teachers.postprocess import Thresholds, separate
from distill.teachers.predict import predict_maps
from distill.teachers.published.hovernet import load_hovernet
from distill.teachers.published.instanseg import load_instanseg
from wsi.slide import Pixels

CARD_NAME = "teacher.toml"
WEIGHTS_NAME = "teacher.safetensors"
Width = Annotated[int, Field(ge=1, le=4096)]
SAME_MPP = 0.1  # relative difference within which images are not resampled: nuclei vary more


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Teacher:
    """A network with what is needed to use it rightly.

    `net` maps (B, 3, H, W) normalised pixels to as large a nuclei logit and distances, H and W
    multiples of 32. `mpp` is the resolution it was trained at, `sha256` that of its weights.
    """

    net: nn.Module
    mpp: float
    thresholds: Thresholds
    sha256: str

    def segment(
        self, pixels: Pixels, *, mpp: float | None = None, turns: int = 1, bfloat16: bool = False
    ) -> Instances:
        """Number the nuclei of an (H, W, 3) image: (H, W) int32.

        Without `mpp` the image is taken to be at the teacher's.
        """
        seen = at_mpp(pixels, mpp=mpp, wanted=self.mpp)
        maps = predict_maps(self.net, seen, turns=turns, bfloat16=bfloat16)
        nuclei = separate(maps, self.thresholds)
        return resize_labels(nuclei, (pixels.shape[0], pixels.shape[1]))


def build_net(architecture: str, *, widths: tuple[int, ...] = WIDTHS, seed: int = 0) -> TeacherNet:
    """A teacher's network with random weights."""
    return TeacherNet(create_backbone(architecture, seed=seed), widths=widths)


def save_teacher(
    net: TeacherNet,
    folder: Path,
    *,
    architecture: str,
    mpp: float,
    thresholds: Thresholds,
    training: TrainingCard,
    half: bool = False,
) -> TeacherCard:
    """Write a teacher's folder: weights, perhaps in half precision, and card."""
    sha256 = save_weights(net, folder / WEIGHTS_NAME, half=half)
    card = TeacherCard(
        architecture=architecture,
        widths=net.widths,
        mpp=mpp,
        weights=WEIGHTS_NAME,
        sha256=sha256,
        thresholds=ThresholdsCard(**asdict(thresholds)),
        training=training,
    )
    write_toml(folder / CARD_NAME, card)
    return card


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


def load_teacher(path: Path) -> Teacher:
    """Load a teacher from its folder, or from the weights in it.

    Raises
    ------
    ModelError
        If card or weights are missing, or the weights are not those of the card.
    """
    folder = path.parent if path.is_file() else path
    card = read_teacher_card(path)
    file = path if path.is_file() and path.name != CARD_NAME else weights_path(folder, card.weights)
    return Teacher(
        net=_load_net(card, file).eval(),
        mpp=card.mpp,
        thresholds=Thresholds(**card.thresholds.model_dump()),
        sha256=card.sha256,
    )


def _load_net(card: AnyCard, file: Path) -> nn.Module:
    if isinstance(card, TeacherCard):
        net = build_net(card.architecture, widths=card.widths)
        load_weights(net, file, sha256=card.sha256)
        return net
    # Checked before anything looks into it: a TorchScript is code.
    stored = read_checked(file, sha256=card.sha256)
    load = load_instanseg if isinstance(card, InstanSegCard) else load_hovernet
    try:
        return load(stored)
    except ModelError as error:
        raise ModelError(f"{file}: {error}") from error


def at_mpp(pixels: Pixels, *, mpp: float | None, wanted: float) -> Pixels:
    """Resample an (H, W, 3) image to another resolution, unless the two are nearly the same."""
    if mpp is None or abs(mpp / wanted - 1) <= SAME_MPP:
        return pixels
    height, width = (max(1, round(length * mpp / wanted)) for length in pixels.shape[:2])
    return np.array(Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC))


def resize_labels(labels: Instances, shape: tuple[int, int]) -> Instances:
    """Bring (H, W) labels to another shape by taking the nearest."""
    rows, columns = (_nearest(old, new) for old, new in zip(labels.shape, shape, strict=True))
    return labels if labels.shape == shape else labels[np.ix_(rows, columns)]


def _nearest(old: int, new: int) -> NDArray[np.int64]:
    return ((np.arange(new) + 0.5) * old / new).astype(np.int64)
