"""A teacher, ours or published: its folder, and the nuclei it finds."""

from dataclasses import asdict, dataclass
from pathlib import Path

from torch import nn

from distill.card import TrainingCard, weights_file, write_toml
from distill.checkpoint import load_weights, read_checked, save_weights
from distill.device import check_device
from distill.encoders import create_backbone
from distill.errors import ModelError
from distill.resample import at_mpp, resize_labels
from distill.teachers.card import (
    CARD_NAME,
    WIDTHS,
    AnyCard,
    InstanSegCard,
    TeacherCard,
    ThresholdsCard,
    read_teacher_card,
)
from distill.teachers.labelled import Instances
from distill.teachers.network import TeacherNet
from distill.teachers.postprocess import Thresholds, separate
from distill.teachers.predict import predict_maps
from distill.teachers.published.hovernet import load_hovernet
from distill.teachers.published.instanseg import load_instanseg
from wsi.slide import Pixels

WEIGHTS_NAME = "teacher.safetensors"


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


def load_teacher(path: Path, *, device: str = "cpu") -> Teacher:
    """Load a teacher from its folder, or from the weights in it, to compute on `device`.

    Raises
    ------
    ModelError
        If card or weights are missing, the weights are not those of the card, or there is no such
        device here.
    """
    check_device(device)
    card = read_teacher_card(path)
    file = weights_file(path, card_name=CARD_NAME, weights=card.weights)
    return Teacher(
        net=_load_net(card, file).eval().to(device),
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
