"""What an embedding averages: the last feature map, or that of every stage."""

import numpy as np
import pytest
import torch

from distill.encoders import create_backbone, create_encoder, encoder_of
from distill.errors import ModelError
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
