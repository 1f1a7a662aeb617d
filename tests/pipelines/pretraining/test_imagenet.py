"""Weights of others become an encoder like any other; a stand-in takes ImageNet's place."""

from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn
from typer.testing import CliRunner

from distill.checkpoint import NETWORK_WEIGHTS
from distill.encoders import create_encoder
from distill.errors import ModelError
from distill.seen import SEEN_NAME, Seen, read_seen
from pipelines.cli.main import cli
from pipelines.errors import UsageError
from pipelines.model import load_model
from wsi.atomic import digest


def made_up(architecture: str) -> nn.Module:
    """A network with its classifier, as weights of ImageNet come."""
    torch.manual_seed(7)
    network: nn.Module = timm.create_model(architecture, num_classes=1000)
    return network


def run(weights: Path, out: Path, *more: str) -> None:
    words = f"pretrain imagenet --weights {weights} --embed-px 64 --licence CC0 -o {out}".split()
    result = CliRunner().invoke(cli, [*words, *more])
    if result.exception:
        raise result.exception


# The second is normalised otherwise, and what it makes of a picture is in a token.
@pytest.mark.parametrize("architecture", ["resnet10t", "vit_tiny_patch16_224"])
@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_weights_become_an_encoder(architecture: str, suffix: str, tmp_path: Path) -> None:
    network, weights = made_up(architecture), tmp_path / f"w{suffix}"
    state = {name: value.contiguous() for name, value in network.state_dict().items()}
    if suffix == ".pth":
        torch.save(state, weights)
    else:
        save_file(state, weights)
    size = "224" if architecture.startswith("vit") else "64"
    out = tmp_path / "imagenet-network"
    network_and_tiles = ("--architecture", architecture, "--embed-px", size, "--tile-mpp", "0.25")
    run(weights, out, *network_and_tiles, "--features", "last")

    model = load_model(out)
    encoder, training = model.encoder, model.card.training
    assert encoder.identifier == f"{architecture}-imagenet"
    assert (encoder.spec.size_px, encoder.spec.mpp) == (int(size), 0.25)
    assert encoder.licence == training.data_licence == "CC0"
    named = f"ImageNet, supervised, weights from {weights.name} (sha256 {digest(weights)})"
    assert training.method == named
    assert encoder.mean == network.pretrained_cfg["mean"]  # type: ignore[index]
    assert read_seen(out / SEEN_NAME) == Seen(unlisted=("ImageNet",))

    pixels = np.random.default_rng(0).integers(0, 256, (2, int(size), int(size), 3), np.uint8)
    with torch.inference_mode():
        x = encoder.normalise(pixels)
        features = network.eval().forward_features(x)  # type: ignore[operator]
        expected = features.mean((2, 3)) if features.ndim == 4 else features[:, 0]
    np.testing.assert_allclose(encoder.embed(pixels), expected, rtol=1e-3, atol=1e-4)
    random = create_encoder(architecture, spec=encoder.spec)
    assert np.abs(encoder.embed(pixels) - random.embed(pixels)).max() > 1e-2


def test_its_embedding_is_made_of_every_stage(tmp_path: Path) -> None:
    torch.save(made_up("resnet10t").state_dict(), tmp_path / "w.pth")
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / NETWORK_WEIGHTS).touch()  # of what was pretrained into the folder before
    run(tmp_path / "w.pth", tmp_path / "m", "--architecture", "resnet10t")
    assert not (tmp_path / "m" / NETWORK_WEIGHTS).exists()
    encoder = load_model(tmp_path / "m").encoder
    assert (encoder.identifier, encoder.dim) == ("resnet10t-imagenet-stages", 1024)


def test_a_file_that_is_not_the_network_is_refused(tmp_path: Path) -> None:
    weights, out = tmp_path / "w.pth", tmp_path / "m"
    state = made_up("resnet10t").state_dict()
    torch.save({"state_dict": state}, weights)
    with pytest.raises(ModelError, match="names with tensors alone"):
        run(weights, out, "--architecture", "resnet10t")
    torch.save(made_up("resnet10t"), weights)  # a whole network, which would execute code
    with pytest.raises(ModelError, match="cannot be read as weights"):
        run(weights, out, "--architecture", "resnet10t")
    torch.save({name: v for name, v in state.items() if name != "conv1.0.weight"}, weights)
    with pytest.raises(ModelError, match="is no state dict of this network"):
        run(weights, out, "--architecture", "resnet10t")
    with pytest.raises(ModelError, match="is no state dict of this network"):
        run(weights, out, "--architecture", "resnet18")
    with pytest.raises(ModelError, match="cannot be read as weights"):
        run(tmp_path / "none.safetensors", out, "--architecture", "resnet10t")
    with pytest.raises(ModelError, match="no encoder is called 'resnet10'"):
        run(weights, out, "--architecture", "resnet10")
    assert not out.exists()


def test_flags_that_do_not_go_together_say_so(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="give --weights FILE, and no --tiles"):
        run(tmp_path / "w.pth", tmp_path / "m", "--tiles", "t")
    words = f"pretrain barlow -o {tmp_path}/m".split()
    for more in ([], ["--tiles", "t", "--weights", "w"]):
        result = CliRunner().invoke(cli, [*words, *more])
        assert isinstance(result.exception, UsageError)
        assert "barlow: give --tiles; --weights is for imagenet" in str(result.exception)
