"""A run's networks: what their files say of them, and whether they load where the work is done.

The first needs no network's library, so that the driver of a run does not load one.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from distill.card import ModelCard, check_weights, read_card, weights_file, weights_path
from distill.errors import ModelError
from distill.segmentation.card import CARD_NAME as SEGMENTER_CARD_NAME
from distill.segmentation.card import SegmenterCard, read_segmenter_card
from distill.teachers.card import CARD_NAME as TEACHER_CARD_NAME
from distill.teachers.card import AnyCard, read_teacher_card
from pipelines.code_version import code_version
from pipelines.settings.config import RunConfig
from wsi.atomic import digest


@dataclass(frozen=True, slots=True, kw_only=True)
class Networks:
    """The cards of the networks that a run was given.

    Attributes
    ----------
    models
        By name, see `RunConfig.models`, with the digests of their folders.
    """

    models: Mapping[str, tuple[ModelCard, str]] = field(default_factory=dict)
    teacher: AnyCard | None = None
    segmenter: SegmenterCard | None = None

    def describe(self) -> dict[str, Any]:
        """For `run.json`."""
        return {
            "model": _about_model(*self.models[""]) if self.models else None,
            "also": {n: _about_model(*of) for n, of in self.models.items() if n},
            "teacher": _about_teacher(self.teacher) if self.teacher else None,
            "segmenter": _about_segmenter(self.segmenter) if self.segmenter else None,
        }


def read_networks(config: RunConfig) -> Networks:
    """Read the cards of a run's networks, and compare their weights with them.

    Raises
    ------
    ModelError
        If a card or weights are missing, the weights are not those of the card, or a further
        model wants other tiles than the first.
    """
    teacher = segmenter = None
    models = {}
    for name, folder in config.models.items():
        card = read_card(folder)
        for part in (card.encoder, card.head):
            if part and part.weights:
                check_weights(weights_path(folder, part.weights), part.sha256)
        models[name] = card, digest(folder)
        if card.tile != models[""][0].tile:
            raise ModelError(
                f"{folder} wants tiles of {_said(card)}, and {config.model} of "
                f"{_said(models[''][0])}: models of one run share their tiles; run it into a "
                "folder of its own"
            )
    if config.teacher:
        teacher = read_teacher_card(config.teacher)
        check_weights(
            weights_file(config.teacher, card_name=TEACHER_CARD_NAME, weights=teacher.weights),
            teacher.sha256,
        )
    if config.segmenter:
        segmenter = read_segmenter_card(config.segmenter)
        check_weights(
            weights_file(
                config.segmenter, card_name=SEGMENTER_CARD_NAME, weights=segmenter.weights
            ),
            segmenter.sha256,
        )
    return Networks(
        models=models,
        teacher=teacher,
        segmenter=segmenter,
    )


def load_networks(config: RunConfig) -> str:
    """Load a run's networks into this process, which then keeps them for its tasks.

    Returns
    -------
    The version of the code here.

    Raises
    ------
    ModelError
        If one does not fit its card, or there is no such device here.
    """
    from pipelines.model import load_model
    from pipelines.nuclei.work import teacher_of
    from pipelines.segmentation.work import segmenter_of

    for folder in config.models.values():
        load_model(folder, device=config.device)
    if config.teacher:
        teacher_of(config.teacher, read_teacher_card(config.teacher).sha256, config.device)
    if config.segmenter:
        sha256 = read_segmenter_card(config.segmenter).sha256
        segmenter_of(config.segmenter, sha256, config.device)
    return code_version()


def _said(card: ModelCard) -> str:
    return f"{card.tile.size_px} px at {card.tile.mpp:g} µm"


def _about_model(card: ModelCard, sha256: str) -> dict[str, Any]:
    return {
        "identifier": card.encoder.identifier,
        "sha256": sha256,
        "training_data": card.training.data,
        "licence": card.encoder.licence,
        "classes": card.head.classes if card.head else None,
        "positive": card.head.positive if card.head else None,
    }


def _about_teacher(card: AnyCard) -> dict[str, Any]:
    return {
        "architecture": card.architecture,
        "sha256": card.sha256,
        "mpp": card.mpp,
        "training_data": card.data,
        "licence": card.licence,
    }


def _about_segmenter(card: SegmenterCard) -> dict[str, Any]:
    return {
        "name": card.name,
        "architecture": card.architecture,
        "classes": card.classes,
        "sha256": card.sha256,
        "mpp": card.mpp,
        "training_data": card.training.data,
        "licence": card.training.data_licence,
    }
