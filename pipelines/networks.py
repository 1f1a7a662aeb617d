"""A run's networks: what their files say of them, and whether they load where the work is done.

The first needs no network's library, so that the driver of a run does not load one.
"""

from dataclasses import dataclass
from typing import Any

from distill.card import ModelCard, check_weights, read_card, weights_file, weights_path
from distill.segmentation.card import CARD_NAME as SEGMENTER_CARD_NAME
from distill.segmentation.card import SegmenterCard, read_segmenter_card
from distill.teachers.card import CARD_NAME as TEACHER_CARD_NAME
from distill.teachers.card import AnyCard, read_teacher_card
from pipelines.config import RunConfig
from wsi.atomic import digest


@dataclass(frozen=True, slots=True, kw_only=True)
class Networks:
    """The cards of the networks that a run was given; `model_sha256` is of the model's folder."""

    model: ModelCard | None = None
    model_sha256: str | None = None
    teacher: AnyCard | None = None
    segmenter: SegmenterCard | None = None

    def describe(self) -> dict[str, Any]:
        """For `run.json`."""
        return {
            "model": self._about_model(),
            "teacher": _about_teacher(self.teacher) if self.teacher else None,
            "segmenter": _about_segmenter(self.segmenter) if self.segmenter else None,
        }

    def _about_model(self) -> dict[str, Any] | None:
        card = self.model
        if card is None:
            return None
        return {
            "identifier": card.encoder.identifier,
            "sha256": self.model_sha256,
            "training_data": card.training.data,
            "licence": card.encoder.licence,
            "classes": card.head.classes if card.head else None,
            "positive": card.head.positive if card.head else None,
        }


def read_networks(config: RunConfig) -> Networks:
    """Read the cards of a run's networks, and compare their weights with them.

    Raises
    ------
    ModelError
        If a card or weights are missing, or the weights are not those of the card.
    """
    model = teacher = segmenter = None
    if config.model:
        model = read_card(config.model)
        for part in (model.encoder, model.head):
            if part and part.weights:
                check_weights(weights_path(config.model, part.weights), part.sha256)
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
        model=model,
        model_sha256=digest(config.model) if config.model else None,
        teacher=teacher,
        segmenter=segmenter,
    )


def load_networks(config: RunConfig) -> None:
    """Load a run's networks into this process, which then keeps them for its tasks.

    Raises
    ------
    ModelError
        If one does not fit its card, or there is no such device here.
    """
    from pipelines.model import load_model
    from pipelines.nuclei.work import teacher_of
    from pipelines.segmentation.work import segmenter_of

    if config.model:
        load_model(config.model, device=config.device)
    if config.teacher:
        teacher_of(config.teacher, read_teacher_card(config.teacher).sha256)
    if config.segmenter:
        segmenter_of(config.segmenter, read_segmenter_card(config.segmenter).sha256)


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
