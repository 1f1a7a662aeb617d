"""Putting what was frozen into the cards of the trained models."""

from pathlib import Path

from distill.card import (
    CARD_NAME,
    CardPart,
    HeadFile,
    ModelCard,
    OperatingPoint,
    read_card,
    read_toml,
)
from pipelines.errors import UsageError
from pipelines.mil.evaluation.evaluate import Evaluation
from pipelines.mil.evaluation.operating_point import Frozen
from pipelines.mil.run import HEAD_CARD_NAME


class FrozenCard(CardPart):
    """``operating_points/fold-<k>-seed-<s>.toml``: what a model's card takes over."""

    classes: tuple[str, ...]
    positive: str | None = None
    temperature: float
    calibrated: bool
    operating_point: OperatingPoint | None = None


def model_name(model: Frozen) -> str:
    """The folder of a trained model, as training names it."""
    return f"fold-{model.fold}-seed-{model.seed}"


def frozen_card(evaluation: Evaluation, model: Frozen) -> FrozenCard:
    """What `model` froze, as a card takes it: an operating point only for a positive class."""
    point = None
    if evaluation.positive is not None:
        point = OperatingPoint(
            threshold=model.threshold_prob,
            criterion=model.criterion,
            chosen_on=f"{model.n_tune} tuning slides",
            uncertain=model.band if model.width > 0 else None,
        )
    return FrozenCard(
        classes=evaluation.scored.test.classes,
        positive=evaluation.positive,
        temperature=model.temperature.value,
        calibrated=not model.temperature.note,
        operating_point=point,
    )


def frozen_cards(evaluation: Evaluation, models: Path) -> dict[Path, ModelCard | HeadFile]:
    """The card of each trained model in the folder `models`, by its path, with what was frozen.

    Raises
    ------
    UsageError
        If a model has no head, other classes or another positive one.
    ModelError
        If a card is missing or wrong.
    """
    cards = {}
    for model in evaluation.frozen:
        path, card = _read(models / model_name(model))
        head, frozen = card.head, frozen_card(evaluation, model)
        if head is None or (head.classes, head.positive) != (frozen.classes, frozen.positive):
            has = f"classes {head.classes}, positive {head.positive!r}" if head else "no head"
            raise UsageError(
                f"--freeze: {path} has {has}; the evaluation is of "
                f"classes {frozen.classes}, positive {frozen.positive!r}: give --positive as "
                "in training"
            )
        update = {
            "operating_point": frozen.operating_point,
            "temperature": frozen.temperature,
            "calibrated": frozen.calibrated,
        }
        cards[path] = card.model_copy(update={"head": head.model_copy(update=update)})
    return cards


def _read(folder: Path) -> tuple[Path, ModelCard | HeadFile]:
    """The card of a model, or of a head whose encoder is elsewhere."""
    alone = folder / HEAD_CARD_NAME
    if alone.exists():
        return alone, read_toml(alone, HeadFile, made_by="'raypath mil train' makes one")
    return folder / CARD_NAME, read_card(folder)
