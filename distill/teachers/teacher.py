"""A trained teacher: its card, its folder, and the nuclei it finds."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field, PositiveFloat

from distill.card import CardPart, TrainingCard, read_toml, write_toml
from distill.checkpoint import load_weights, save_weights, weights_path
from distill.encoders import create_backbone
from distill.teachers.labelled import Instances
from distill.teachers.network import WIDTHS, TeacherNet
from distill.teachers.postprocess import Thresholds, separate
from distill.teachers.predict import predict_maps
from wsi.slide import Pixels

CARD_NAME = "teacher.toml"
WEIGHTS_NAME = "teacher.safetensors"
SAME_MPP = 0.1  # relative difference within which images are not resampled: nuclei vary more


class ThresholdsCard(CardPart):
    """`distill.teachers.postprocess.Thresholds` as chosen on the validation images."""

    nuclei: float = Field(gt=0, lt=1)
    depth: float = Field(gt=0, lt=1)
    smooth_px: PositiveFloat
    least_px: int = Field(ge=1)


class TeacherCard(CardPart):
    """The whole of `teacher.toml`."""

    format: Literal[1] = 1
    architecture: str
    widths: tuple[int, ...] = WIDTHS
    mpp: float = Field(gt=0, allow_inf_nan=False)
    weights: str
    sha256: str
    thresholds: ThresholdsCard
    training: TrainingCard


@dataclass(frozen=True, slots=True, kw_only=True)
class Teacher:
    """A network with what is needed to use it rightly.

    `mpp` is the resolution it was trained at, `sha256` of its weights.
    """

    net: TeacherNet
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
        mpp=mpp,
        weights=WEIGHTS_NAME,
        sha256=sha256,
        thresholds=ThresholdsCard(**asdict(thresholds)),
        training=training,
    )
    write_toml(folder / CARD_NAME, card)
    return card


def read_teacher_card(path: Path) -> TeacherCard:
    """Read the card of a teacher from its folder, or beside the weights in it.

    Raises
    ------
    ModelError
        If there is none, or a key is unknown, missing or wrong.
    """
    folder = path.parent if path.is_file() else path
    return read_toml(folder / CARD_NAME, TeacherCard, made_by="'raypath teacher train' makes one")


def load_teacher(path: Path) -> Teacher:
    """Load a teacher from its folder, or from the weights in it.

    Raises
    ------
    ModelError
        If card or weights are missing, or the weights are not those of the card.
    """
    folder = path.parent if path.is_file() else path
    card = read_teacher_card(path)
    net = build_net(card.architecture, widths=card.widths)
    file = path if path.is_file() and path.name != CARD_NAME else weights_path(folder, card.weights)
    load_weights(net, file, sha256=card.sha256)
    return Teacher(
        net=net.eval(),
        mpp=card.mpp,
        thresholds=Thresholds(**card.thresholds.model_dump()),
        sha256=card.sha256,
    )


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
