"""What an embedding averages: the last feature map, or that of every stage."""

import numpy as np
import pytest
import torch

from distill.encoders import create_backbone, create_encoder, encoder_of
from distill.errors import ModelError
from distill.nuclei_net import NucleiNet
from distill.pooling import PooledFeatures, pooled
from wsi.plan import TileSpec

SPEC = TileSpec(size_px=64, mpp=0.5)
CONVOLUTIONAL = ("csat", "resnet10t", "efficientnet_b0", "convnextv2_atto", "densenet121")


@pytest.mark.parametrize("architecture", CONVOLUTIONAL)
def test_the_embedding_of_stages_is_the_mean_of_each_and_ends_with_that_of_the_last(
    architecture: str,
) -> None:
    backbone = create_backbone(architecture, seed=3).eval()
    encoder = encoder_of(backbone, identifier="x", spec=SPEC, licence="CC0", features="stages")
    pixels = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), np.uint8)
    with torch.no_grad():
        maps = backbone.forward_intermediates(  # type: ignore[operator]
            encoder.normalise(pixels), intermediates_only=True
        )
    finer = torch.cat([features.mean((2, 3)) for features in maps[:-1]], dim=1).numpy()
    last = create_encoder(architecture, spec=SPEC, seed=3).embed(pixels)
    embeddings = encoder.embed(pixels)
    assert encoder.dim == finer.shape[1] + last.shape[1]
    np.testing.assert_allclose(embeddings[:, : finer.shape[1]], finer, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(embeddings[:, finer.shape[1] :], last, rtol=1e-4, atol=1e-5)


def test_maps_of_stages_lie_on_the_grid_of_the_last() -> None:
    module = pooled(create_backbone("resnet10t"), "stages").eval()
    with torch.no_grad():
        features = module.features(torch.zeros(1, 3, 96, 64))
    assert features.shape == (1, 64 + 64 + 128 + 256 + 512, 3, 2)


def test_a_network_of_tokens_has_no_stages() -> None:
    backbone = create_backbone("vit_tiny_patch16_224")
    with pytest.raises(ModelError, match=r"VisionTransformer has no stages.*'last'"):
        pooled(backbone, "stages")
    assert type(pooled(backbone, "last")) is PooledFeatures


@pytest.mark.parametrize("architecture", ["mambaout_femto", "swin_tiny_patch4_window7_224"])
def test_maps_with_channels_last_are_averaged_over_space(architecture: str) -> None:
    """Some of timm's networks answer (B, h, w, D); timm's own pooling is what is expected."""
    backbone = create_backbone(architecture).eval()
    x = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        maps = backbone.forward_features(x)  # type: ignore[operator]
        last, staged = (pooled(backbone, features)(x) for features in ("last", "stages"))
    width = backbone.num_features
    assert last.shape == (2, width)
    np.testing.assert_allclose(last, maps.mean((1, 2)), atol=1e-5)
    np.testing.assert_allclose(staged[:, -width:], last, atol=1e-5)
    net = NucleiNet(backbone).eval()
    with torch.no_grad():
        assert net(x[:1]).shape == (1, 3, 112, 112)


def test_a_network_that_ends_in_tokens_has_the_stages_it_says() -> None:
    backbone = create_backbone("levit_128s").eval()
    with torch.no_grad():
        embeddings = pooled(backbone)(torch.zeros(2, 3, 224, 224))
    assert embeddings.shape == (2, sum(stage["num_chs"] for stage in backbone.feature_info))
