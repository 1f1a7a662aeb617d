"""Decoders on encoders of every kind, fresh or kept."""

from pathlib import Path

import pytest
import torch

from distill.card import EncoderCard, ModelCard, TileCard, TrainingCard, write_card
from distill.checkpoint import NETWORK_WEIGHTS, load_weights, save_encoder, save_weights
from distill.encoders import create_backbone, encoder_of
from distill.errors import ModelError
from distill.nuclei_net import NucleiNet
from distill.segmentation.network import PyramidNet, build_network, start_network
from wsi.plan import TileSpec

SMALL = "mobilenetv3_small_050"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model's folder as pretraining on nuclei leaves it."""
    folder = tmp_path_factory.mktemp("model")
    net = NucleiNet(create_backbone(SMALL, seed=3))
    encoder = encoder_of(
        net.backbone,
        identifier="small-rckd",
        spec=TileSpec(size_px=64, mpp=0.5),
        licence="CC0",
    )
    card: EncoderCard = save_encoder(encoder, folder, architecture=SMALL)
    save_weights(net, folder / NETWORK_WEIGHTS)
    training = TrainingCard(data="made", data_licence="CC0", method="none")
    tile = TileCard(size_px=64, mpp=0.5)
    write_card(folder, ModelCard(encoder=card, tile=tile, training=training))
    return folder


@pytest.mark.parametrize(
    ("architecture", "decoder"),
    [(SMALL, "unet"), (SMALL, "fpn"), ("resnet10t", "unet"), ("vit_tiny_patch16_224", "fpn")],
)
def test_a_class_for_every_pixel(architecture: str, decoder: str) -> None:
    net = build_network(architecture, decoder, outputs=5).train()  # type: ignore[arg-type]
    logits = net(torch.randn(2, 3, 64, 96))
    assert logits.shape == (2, 5, 64, 96)
    logits.square().sum().backward()
    heads = [p for n, p in net.named_parameters() if "head" in n and "backbone" not in n]
    assert all(p.grad is not None and p.grad.any() for p in heads)


def test_a_unet_on_tokens_is_refused_with_the_way_out() -> None:
    with pytest.raises(ModelError, match=r"U-Net needs one at 32: give --network fpn"):
        build_network("vit_tiny_patch16_224", "unet", outputs=2)


def test_the_encoder_of_a_model_is_taken(model: Path) -> None:
    start = start_network(str(model), outputs=4)
    assert (start.architecture, start.decoder, start.licence) == (SMALL, "fpn", "CC0")
    assert isinstance(start.net, PyramidNet)
    expected = create_backbone(SMALL, seed=3).state_dict()
    taken = start.net.net.backbone.state_dict()
    assert all(torch.equal(taken[name], expected[name]) for name in expected)
    other = start_network(str(model), outputs=4, seed=1)
    assert not torch.equal(other.net.net.head.weight, start.net.net.head.weight)


def test_a_kept_decoder_is_the_models_but_for_its_end(model: Path) -> None:
    torch.manual_seed(0)
    fresh = start_network(str(model), outputs=4).net
    kept = start_network(str(model), outputs=4, keep_decoder=True)
    assert "decoder" in kept.pretraining
    weights = NucleiNet(create_backbone(SMALL))
    load_weights(weights, model / NETWORK_WEIGHTS, sha256=None)
    for name, value in weights.state_dict().items():
        if not name.startswith("head"):
            assert torch.equal(kept.net.net.state_dict()[name], value), name
    assert kept.net.net.head.weight.shape[0] == 4
    name = "lateral.0.weight"
    assert not torch.equal(fresh.net.state_dict()[name], kept.net.net.state_dict()[name])


def test_a_decoder_that_is_not_there_cannot_be_kept(model: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="a network without weights"):
        start_network(SMALL, outputs=2, keep_decoder=True)
    with pytest.raises(ModelError, match="is a feature pyramid, not unet"):
        start_network(str(model), outputs=2, decoder="unet", keep_decoder=True)
    bare = tmp_path / "bare"
    bare.mkdir()
    for file in model.iterdir():
        if file.name != NETWORK_WEIGHTS:
            (bare / file.name).write_bytes(file.read_bytes())
    with pytest.raises(ModelError, match=r"holds no network\.safetensors.*--decoder fresh"):
        start_network(str(bare), outputs=2, keep_decoder=True)
