"""`model.toml`: what is written comes back, and what is wrong is named."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from distill.card import (
    CARD_NAME,
    EncoderCard,
    HeadCard,
    ModelCard,
    OperatingPoint,
    TileCard,
    TrainingCard,
    read_card,
    write_card,
)
from distill.errors import ModelError
from wsi.plan import TileSpec

CARD = ModelCard(
    encoder=EncoderCard(
        architecture="resnet10t",
        identifier="resnet10t-rckd",
        dim=512,
        mean=(0.5, 0.25, 0.125),
        std=(1.0, 0.5, 0.25),
        weights="encoder.safetensors",
        sha256="ab" * 32,
        licence="CC-BY-4.0",
    ),
    tile=TileCard(size_px=128, mpp=0.5),
    head=HeadCard(
        kind="gated-abmil",
        classes=("normal", "tumour"),
        positive="tumour",
        sizes={"hidden_dim": 128, "attention_dim": 64},
        weights="head.safetensors",
        sha256="cd" * 32,
        operating_point=OperatingPoint(threshold=0.4, criterion="Youden", chosen_on="6 slides"),
    ),
    training=TrainingCard(
        data="a made-up cohort, µm and ü", data_licence="CC0", method="RCKD", measures={"dice": 0.9}
    ),
)
Change = Callable[[dict[str, Any]], object]


def with_change(folder: Path, change: Change) -> Path:
    """Write the card with a change by hand."""
    values = CARD.model_dump(exclude_none=True, mode="json")
    change(values)
    (folder / CARD_NAME).write_text(tomli_w.dumps(values), encoding="utf-8")
    return folder


@pytest.mark.parametrize("card", [CARD, CARD.model_copy(update={"head": None})])
def test_a_card_comes_back_as_it_was_written(tmp_path: Path, card: ModelCard) -> None:
    write_card(tmp_path, card)
    assert read_card(tmp_path) == card
    assert [path.name for path in tmp_path.iterdir()] == [CARD_NAME]


def test_the_tiles_are_as_geometry_takes_them() -> None:
    assert CARD.tile.spec == TileSpec(size_px=128, mpp=0.5)


def test_measures_are_optional(tmp_path: Path) -> None:
    read = read_card(with_change(tmp_path, lambda card: card["training"].pop("measures")))
    assert read.training.measures == {}


def test_a_card_without_temperature_or_band_has_none(tmp_path: Path) -> None:
    head = read_card(with_change(tmp_path, lambda card: card["head"].pop("temperature"))).head
    assert head is not None
    assert head.operating_point is not None
    assert (head.temperature, head.operating_point.uncertain) == (1.0, None)


def test_a_head_without_a_positive_class_has_no_operating_point(tmp_path: Path) -> None:
    def drop(*names: str) -> ModelCard:
        return read_card(with_change(tmp_path, lambda c: [c["head"].pop(name) for name in names]))

    head = drop("positive", "operating_point").head
    assert head is not None
    assert (head.positive, head.operating_point) == (None, None)
    with pytest.raises(ModelError, match="positive and operating_point belong together"):
        drop("positive")


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda c: c.update(colour="red"), r"colour: .*not permitted"),
        (lambda c: c["encoder"].update(pickle="x"), r"encoder\.pickle: .*not permitted"),
        (lambda c: c["encoder"].pop("licence"), r"encoder\.licence: .*required"),
        (lambda c: c.pop("training"), r"training: .*required"),
        (lambda c: c["tile"].update(mpp=0), r"tile\.mpp: .*greater than 0"),
        (lambda c: c["tile"].update(mpp=float("nan")), r"tile\.mpp: .*finite"),
        (lambda c: c["tile"].update(mpp=float("inf")), r"tile\.mpp: .*finite"),
        (lambda c: c["encoder"].update(std=[0.0, 1.0, 1.0]), r"encoder\.std\.0: .*greater than 0"),
        (lambda c: c["encoder"].update(weights="w", sha256=""), r"without their sha256"),
        (lambda c: c["tile"].update(size_px=-1), r"tile\.size_px: .*greater than 0"),
        (lambda c: c["encoder"].update(mean=[0.5]), r"encoder\.mean\.1: .*required"),
        (lambda c: c["head"].update(positive="x"), r"positive = 'x' is not one of classes"),
        (lambda c: c["head"].update(kind="pickle"), r"head\.kind: "),
        (lambda c: c["head"]["sizes"].update(hidden_dim=0), r"head\.sizes\.hidden_dim: .*than 0"),
        (lambda c: c["head"].update(classes=["tumour"]), r"head\.classes: .*at least 2"),
        (lambda c: c["head"]["operating_point"].update(threshold=1.5), r"threshold: .*1"),
        (
            lambda c: c["head"]["operating_point"].update(uncertain=[0.5, 0.9]),
            r"uncertain = \(0\.5, 0\.9\) is no band around 0\.4",
        ),
        (lambda c: c["head"].update(temperature=0), r"head\.temperature: .*greater than 0"),
        (lambda c: c.update(format=2), r"format: "),
    ],
)
def test_what_is_wrong_in_a_card_is_named(tmp_path: Path, change: Change, complaint: str) -> None:
    with pytest.raises(ModelError, match=complaint):
        read_card(with_change(tmp_path, change))


def test_every_problem_is_named_at_once(tmp_path: Path) -> None:
    def change(card: dict[str, Any]) -> None:
        card["tile"] = {"size_px": 0, "nm": 1}

    with pytest.raises(ModelError) as caught:
        read_card(with_change(tmp_path, change))
    for part in ("tile.size_px", "tile.mpp", "tile.nm", str(tmp_path / CARD_NAME)):
        assert part in str(caught.value)


@pytest.mark.parametrize("text", [b"encoder = ", b"[encoder", b"data = '\xff'", b"\x80\x04."])
def test_what_is_no_toml_is_no_card(tmp_path: Path, text: bytes) -> None:
    (tmp_path / CARD_NAME).write_bytes(text)
    with pytest.raises(ModelError, match="not valid TOML"):
        read_card(tmp_path)


@pytest.mark.parametrize("folder", ["none", "empty"])
def test_a_missing_card_says_what_a_model_is(tmp_path: Path, folder: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match=rf"no model at .*{folder}: .*raypath demo"):
        read_card(tmp_path / folder)


def test_a_tile_that_fits_no_memory_is_refused(tmp_path: Path) -> None:
    folder = with_change(tmp_path, lambda card: card["tile"].update(size_px=10**9))
    with pytest.raises(ModelError, match=r"tile\.size_px: .*less than or equal to 8192"):
        read_card(folder)
