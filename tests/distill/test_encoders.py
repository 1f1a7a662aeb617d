"""Encoders by name: the same contract for the one without a network and for timm's."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from distill.card import Features
from distill.encoders import (
    ENCODERS,
    IMAGENET_MEAN,
    IMAGENET_STD,
    Encoder,
    MeanColour,
    create_backbone,
    create_encoder,
    encoder_of,
    normalise,
)
from distill.errors import DeviceMemoryError, ModelError
from wsi.plan import TileSpec
from wsi.slide import Pixels

SPEC = TileSpec(size_px=64, mpp=0.5)
ARCHITECTURES = (*ENCODERS, "resnet10t", "regnetx_002", "vit_tiny_patch16_224")


def spec_of(architecture: str) -> TileSpec:
    return TileSpec(size_px=224, mpp=0.5) if architecture.endswith("_224") else SPEC


def tiles(count: int, size_px: int, seed: int = 0) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (count, size_px, size_px, 3), np.uint8)


@pytest.fixture(scope="module", params=[*ARCHITECTURES, "resnet10t, stages"])
def encoder(request: pytest.FixtureRequest) -> Encoder:
    name, _, features = request.param.partition(", ")
    return create_encoder(name, spec=spec_of(name), features=features or "last")


def test_embeddings_are_one_row_of_float32_a_tile(encoder: Encoder) -> None:
    embeddings = encoder.embed(tiles(3, encoder.spec.size_px))
    assert embeddings.shape == (3, encoder.dim)
    assert embeddings.dtype == np.float32
    assert np.isfinite(embeddings).all()
    assert (embeddings.std(axis=0) > 0).any()


def test_no_tiles_no_rows(encoder: Encoder) -> None:
    embeddings = encoder.embed(tiles(0, encoder.spec.size_px))
    assert embeddings.shape == (0, encoder.dim)
    assert embeddings.dtype == np.float32


def test_a_tile_embeds_the_same_in_any_batch(encoder: Encoder) -> None:
    pixels = tiles(5, encoder.spec.size_px)
    together = encoder.embed(pixels)
    alone = np.concatenate([encoder.embed(pixels[i : i + 1]) for i in range(5)])
    np.testing.assert_allclose(together, alone, atol=1e-4 * np.abs(together).max())
    np.testing.assert_allclose(
        encoder.embed(pixels[::-1].copy()), together[::-1], atol=1e-4 * np.abs(together).max()
    )


def test_it_is_frozen_in_evaluation_mode(encoder: Encoder) -> None:
    assert not encoder.module.training
    before = [value.clone() for value in encoder.module.state_dict().values()]
    encoder.embed(tiles(4, encoder.spec.size_px))
    after = encoder.module.state_dict().values()
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_the_mean_colour_is_exact() -> None:
    encoder = create_encoder("mean-colour", spec=SPEC)
    pixels = tiles(4, 64)
    np.testing.assert_allclose(
        encoder.embed(pixels), pixels.mean(axis=(1, 2)) / 255, rtol=0, atol=1e-6
    )
    flat = np.broadcast_to(np.array([200, 100, 50], np.uint8), (1, 64, 64, 3)).copy()
    np.testing.assert_allclose(encoder.embed(flat)[0] * 255, [200, 100, 50], atol=1e-4)
    assert encoder.dim == 3


@pytest.mark.parametrize(
    ("architecture", "dim"), [("resnet10t", 512), ("regnetx_002", 368), ("resnet18", 512)]
)
def test_dim_is_that_of_the_last_feature_map(architecture: str, dim: int) -> None:
    assert create_encoder(architecture, spec=SPEC).dim == dim


def test_the_seed_fixes_the_weights_and_leaves_the_others_alone() -> None:
    torch.manual_seed(123)
    expected = torch.rand(3)
    torch.manual_seed(123)
    one = create_encoder("resnet10t", spec=SPEC, seed=1)
    assert torch.equal(torch.rand(3), expected)
    pixels = tiles(2, 64)
    same = create_encoder("resnet10t", spec=SPEC, seed=1).embed(pixels)
    other = create_encoder("resnet10t", spec=SPEC, seed=2).embed(pixels)
    np.testing.assert_array_equal(one.embed(pixels), same)
    assert np.abs(other - same).max() > 1e-3


def test_normalising_takes_out_the_mean_and_spread_of_each_channel() -> None:
    pixels = torch.from_numpy(tiles(2, 8))
    normal = normalise(pixels)
    assert normal.shape == (2, 3, 8, 8)
    assert normal.dtype == torch.float32
    back = normal.permute(0, 2, 3, 1) * torch.tensor(IMAGENET_STD) + torch.tensor(IMAGENET_MEAN)
    torch.testing.assert_close(back * 255, pixels.float(), atol=1e-3, rtol=0)
    torch.testing.assert_close(normalise(pixels.float()), normal)
    torch.testing.assert_close(
        normalise(pixels, mean=(0.0,) * 3, std=(1.0,) * 3)[0, :, 4, 5], pixels[0, 4, 5] / 255
    )


def test_an_encoder_is_the_pooled_last_feature_map() -> None:
    backbone = create_backbone("resnet10t", seed=3).eval()
    encoder = encoder_of(backbone, identifier="x", spec=SPEC, licence="CC0-1.0")
    pixels = tiles(2, 64)
    with torch.no_grad():
        features = backbone.forward_features(encoder.normalise(pixels))  # type: ignore[operator]
    np.testing.assert_allclose(encoder.embed(pixels), features.mean((2, 3)), atol=1e-5)


def test_what_is_no_network_has_no_stages() -> None:
    with pytest.raises(ModelError, match="mean-colour has no stages"):
        create_encoder("mean-colour", spec=SPEC, features="stages")


@pytest.mark.parametrize("features", ["last", "stages"])
def test_a_network_with_several_results_is_refused(features: Features) -> None:
    spec = TileSpec(size_px=240, mpp=0.5)
    with pytest.raises(ModelError, match=r"^CrossVit answers .*list of 2"):
        create_encoder("crossvit_tiny_240", spec=spec, features=features)


def test_a_network_of_one_size_refuses_tiles_of_another() -> None:
    with pytest.raises(ModelError, match=r"swin_s3_tiny_224-random .* of 64 px: .*\(224\)"):
        create_encoder("swin_s3_tiny_224", spec=SPEC)


@pytest.mark.parametrize(
    ("name", "proposal"), [("resnet-18", "resnet18"), ("regnet_x002", "regnetx_002")]
)
def test_an_unknown_name_is_answered_with_similar_ones(name: str, proposal: str) -> None:
    with pytest.raises(ModelError, match=f"'{name}'.*did you mean.*{proposal}"):
        create_encoder(name, spec=SPEC)


def test_a_name_unlike_any_other_is_answered_with_where_to_look() -> None:
    with pytest.raises(ModelError, match="list_models"):
        create_encoder("§§§", spec=SPEC)


def test_a_device_that_is_not_there_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    encoder = create_encoder("mean-colour", spec=TileSpec(size_px=32, mpp=0.5))
    assert encoder.on("cpu") is encoder
    with pytest.raises(ModelError, match=r"compute on cuda, and no GPU is visible.*--device"):
        encoder.on("cuda")


def test_bfloat16_embeds_nearly_the_same() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), np.uint8)
    encoder = create_encoder("resnet10t", spec=TileSpec(size_px=64, mpp=0.5))
    full, half = encoder.embed(pixels), encoder.embed(pixels, bfloat16=True)
    assert half.dtype == np.float32
    assert (full != half).any()
    np.testing.assert_allclose(half, full, rtol=0.05, atol=0.02 * np.abs(full).max())


class Small(MeanColour):
    """A network on a device with memory for `most` tiles, as PyTorch says it."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most, self.seen = most, list[int]()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen.append(len(x))
        if len(x) > self.most:
            raise torch.OutOfMemoryError("tried to allocate 20.00 MiB")
        return super().forward(x)


def test_a_batch_that_does_not_fit_goes_through_in_parts() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (13, 32, 32, 3), np.uint8)
    encoder = create_encoder("mean-colour", spec=TileSpec(size_px=32, mpp=0.5))
    small = replace(encoder, module=Small(most=4))
    np.testing.assert_array_equal(small.embed(pixels), encoder.embed(pixels))
    assert small.module.seen == [13, 6, 3, 3, 7, 3, 4]


def test_a_tile_that_does_not_fit_is_said() -> None:
    pixels = np.zeros((5, 32, 32, 3), np.uint8)
    encoder = create_encoder("mean-colour", spec=TileSpec(size_px=32, mpp=0.5))
    with pytest.raises(DeviceMemoryError, match=r"single tile of 32 px.*20\.00 MiB.*gpus"):
        replace(encoder, module=Small(most=0)).embed(pixels)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_gpu_embeds_nearly_the_same() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), np.uint8)
    spec = TileSpec(size_px=64, mpp=0.5)
    here = create_encoder("mobilenetv3_small_050", spec=spec).embed(pixels)
    there = create_encoder("mobilenetv3_small_050", spec=spec).on("cuda").embed(pixels)
    np.testing.assert_allclose(there, here, rtol=1e-2, atol=1e-3)
