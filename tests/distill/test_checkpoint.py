"""Weights on disk: what comes back is what was saved, and nothing else is taken for it."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from distill.card import EncoderCard, TileCard, weights_path
from distill.checkpoint import (
    ENCODER_WEIGHTS,
    load_encoder,
    load_weights,
    save_encoder,
    save_weights,
)
from distill.encoders import Encoder, create_backbone, create_encoder, encoder_of
from distill.errors import ModelError
from wsi.atomic import digest
from wsi.plan import TileSpec

TILE = TileCard(size_px=64, mpp=0.5)
PIXELS = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), np.uint8)


def linear(width: int = 4) -> nn.Module:
    torch.manual_seed(0)
    return nn.Linear(width, 2)


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    """With weights of its own: another seed than the one that loading starts from."""
    backbone = create_backbone("resnet10t", seed=77)
    return encoder_of(backbone, identifier="mine", spec=TILE.spec, licence="CC-BY-4.0")


def test_an_encoder_embeds_the_same_after_a_round_trip(tmp_path: Path, encoder: Encoder) -> None:
    card = save_encoder(encoder, tmp_path, architecture="resnet10t")
    assert card.sha256 == digest(tmp_path / ENCODER_WEIGHTS)
    loaded = load_encoder(tmp_path, card, TILE)
    np.testing.assert_array_equal(loaded.embed(PIXELS), encoder.embed(PIXELS))
    assert not loaded.module.training
    assert (loaded.identifier, loaded.licence, loaded.dim) == ("mine", "CC-BY-4.0", encoder.dim)
    assert loaded.spec == TILE.spec


def test_what_an_embedding_averages_is_kept(tmp_path: Path) -> None:
    encoder = create_encoder("resnet10t", spec=TILE.spec, seed=77, features="stages")
    card = save_encoder(encoder, tmp_path, architecture="resnet10t")
    assert (card.features, card.dim) == ("stages", 1024)
    loaded = load_encoder(tmp_path, card, TILE)
    np.testing.assert_array_equal(loaded.embed(PIXELS), encoder.embed(PIXELS))
    last = {key: value for key, value in card.model_dump().items() if key != "features"}
    before = EncoderCard.model_validate(last | {"dim": 512})  # a card that does not say it
    np.testing.assert_allclose(
        load_encoder(tmp_path, before, TILE).embed(PIXELS),
        encoder.embed(PIXELS)[:, -512:],
        atol=1e-5,
    )


def test_the_same_weights_have_the_same_digest(tmp_path: Path) -> None:
    assert save_weights(linear(), tmp_path / "a") == save_weights(linear(), tmp_path / "b")
    (tmp_path / "other").write_bytes(b"")
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "other").stat().st_mode
    assert save_weights(linear(5), tmp_path / "a") != digest(tmp_path / "b")


def test_what_half_precision_does_not_hold_is_refused(tmp_path: Path) -> None:
    norm = nn.BatchNorm2d(4)
    norm.running_var[1] = 1e5
    with pytest.raises(
        ModelError, match=r"running_var reaches 100000, .* 65504: .* without --half"
    ):
        save_weights(norm, tmp_path / "a", half=True)
    save_weights(norm, tmp_path / "a")
    loaded = nn.BatchNorm2d(4)
    load_weights(loaded, tmp_path / "a", sha256=None)
    assert loaded.running_var[1] == 1e5


@pytest.mark.parametrize("value", [float("nan"), float("-inf")])
def test_weights_that_are_not_finite_are_not_saved(tmp_path: Path, value: float) -> None:
    broken = linear()
    broken.weight.data[0, 1] = value
    with pytest.raises(ModelError, match=r"weight reaches (nan|inf)"):
        save_weights(broken, tmp_path / "a")
    assert not (tmp_path / "a").exists()


def test_an_encoder_without_weights_needs_no_file(tmp_path: Path) -> None:
    card = save_encoder(
        create_encoder("mean-colour", spec=TILE.spec), tmp_path, architecture="mean-colour"
    )
    assert card.weights is None
    assert list(tmp_path.iterdir()) == []
    loaded = load_encoder(tmp_path, card, TILE)
    np.testing.assert_allclose(loaded.embed(PIXELS), PIXELS.mean((1, 2)) / 255, atol=1e-6)


def test_a_network_without_weights_is_refused(tmp_path: Path, encoder: Encoder) -> None:
    """Random weights would embed without a sign that anything is wrong."""
    card = save_encoder(encoder, tmp_path, architecture="resnet10t")
    with pytest.raises(ModelError, match="the card of mine names no weights for resnet10t"):
        load_encoder(tmp_path, card.model_copy(update={"weights": None}), TILE)


def test_normalisation_is_that_of_the_card(tmp_path: Path, encoder: Encoder) -> None:
    card = save_encoder(encoder, tmp_path, architecture="resnet10t")
    other = card.model_copy(update={"mean": (0.0, 0.1, 0.2), "std": (1.0, 0.5, 0.25)})
    loaded = load_encoder(tmp_path, other, TILE)
    assert (loaded.mean, loaded.std) == (other.mean, other.std)
    assert np.abs(loaded.embed(PIXELS) - encoder.embed(PIXELS)).max() > 1e-4


def test_an_embedding_of_another_length_is_refused(tmp_path: Path, encoder: Encoder) -> None:
    card = save_encoder(encoder, tmp_path, architecture="resnet10t")
    with pytest.raises(ModelError, match="embeddings of 512, the card says 256"):
        load_encoder(tmp_path, card.model_copy(update={"dim": 256}), TILE)


def test_weights_of_another_network_are_refused(tmp_path: Path, encoder: Encoder) -> None:
    card = save_encoder(encoder, tmp_path, architecture="resnet10t")
    other = card.model_copy(update={"architecture": "resnet18"})
    with pytest.raises(ModelError, match="does not fit the architecture"):
        load_encoder(tmp_path, other, TILE)


def test_other_weights_than_those_of_the_card_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    sha256 = save_weights(linear(), path)
    load_weights(linear(), path, sha256=sha256)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(ModelError, match=f"its card says {sha256[:12]}"):
        load_weights(linear(), path, sha256=sha256)


@pytest.mark.parametrize("kept", [0, 4, 20, -8, -1])
def test_a_truncated_file_is_refused(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "w.safetensors"
    save_weights(linear(), path)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ModelError, match=r"w\.safetensors"):
        load_weights(linear(), path, sha256=None)


class Mischief:
    """Unpickling this leaves a file behind."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.mark,)


def test_a_pickle_is_neither_run_nor_taken(tmp_path: Path) -> None:
    path, mark = tmp_path / "w.safetensors", tmp_path / "was-run"
    for write in (torch.save, lambda thing, to: to.write_bytes(pickle.dumps(thing))):
        write({"weight": Mischief(mark)}, path)
        with pytest.raises(ModelError):
            load_weights(linear(), path, sha256=None)
        with pytest.raises(ModelError):
            load_weights(linear(), path, sha256=digest(path))
    assert not mark.exists()


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"weights are missing: .*none\.safetensors"):
        load_weights(linear(), tmp_path / "none.safetensors", sha256=None)


@pytest.mark.parametrize("name", ["../w", "/etc/passwd", "a/w", "a/../w", "..", ".", "./w", ""])
def test_a_name_that_leads_out_of_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ModelError, match="a file name inside"):
        weights_path(tmp_path, name)


def test_a_card_cannot_name_weights_elsewhere(tmp_path: Path, encoder: Encoder) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    card = save_encoder(encoder, tmp_path, architecture="resnet10t")
    astray = card.model_copy(update={"weights": f"../{ENCODER_WEIGHTS}"})
    with pytest.raises(ModelError, match="a file name inside"):
        load_encoder(folder, astray, TILE)


def test_saving_leaves_nothing_half_written(tmp_path: Path) -> None:
    class Broken(nn.Linear):
        def state_dict(self, *args: object, **kwargs: object) -> dict[str, object]:  # type: ignore[override]
            raise OSError("disk full")

    save_weights(linear(), tmp_path / "w")
    before = digest(tmp_path / "w")
    with pytest.raises(OSError, match="disk full"):
        save_weights(Broken(4, 2), tmp_path / "w")
    assert [path.name for path in tmp_path.iterdir()] == ["w"]
    assert digest(tmp_path / "w") == before


def test_the_card_of_an_encoder_says_what_it_is(tmp_path: Path, encoder: Encoder) -> None:
    card = save_encoder(encoder, tmp_path, architecture="resnet10t")
    assert card == EncoderCard(
        architecture="resnet10t",
        identifier="mine",
        dim=512,
        mean=encoder.mean,
        std=encoder.std,
        weights=ENCODER_WEIGHTS,
        sha256=digest(tmp_path / ENCODER_WEIGHTS),
        licence="CC-BY-4.0",
    )
    assert TileSpec(size_px=64, mpp=0.5) == encoder.spec
