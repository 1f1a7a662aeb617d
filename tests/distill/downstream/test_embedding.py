"""Embeddings of images are the mean over their tiles, and are computed once."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from distill.downstream.dataset import LabelledImages
from distill.downstream.embedding import (
    cached_embeddings,
    embed_images,
    embedder,
    encoder_digest,
    view_of,
)
from distill.encoders import create_encoder
from wsi.plan import TileSpec

Make = Callable[..., LabelledImages]
SPEC = TileSpec(size_px=64, mpp=0.5)


@pytest.mark.parametrize("edge", [64, 100])
def test_an_embedding_is_the_mean_over_tiles(
    coloured: Make, edge: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = coloured(count=12, edge=edge)
    encoder = create_encoder("mean-colour", spec=SPEC)
    view = view_of(encoder)
    expected = [
        encoder.embed(view.show(dataset.images.read(n), 0.5)).mean(0) for n in range(len(dataset))
    ]
    progress: list[int] = []
    whole = embed_images(dataset, encoder.embed, view, report=progress.append)
    np.testing.assert_allclose(whole, expected, atol=1e-6)
    assert progress[-1] == 12
    monkeypatch.setattr("distill.downstream.embedding.BATCH_PX", 1)
    np.testing.assert_allclose(embed_images(dataset, encoder.embed, view), expected, atol=1e-6)
    assert whole.dtype == np.float32


def test_embeddings_are_computed_once_for_an_encoder_and_its_images(
    coloured: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset, encoder = coloured(), create_encoder("resnet10t", spec=SPEC)
    first = cached_embeddings(dataset, encoder, view_of(encoder), tmp_path)
    assert len(list(tmp_path.iterdir())) == 1
    monkeypatch.setattr("distill.downstream.embedding.embed_images", None)  # would fail if called
    again = cached_embeddings(dataset, encoder, view_of(encoder), tmp_path)
    np.testing.assert_array_equal(first, again)
    relabelled = replace(dataset, targets=dataset.targets[::-1].copy())
    cached_embeddings(relabelled, encoder, view_of(encoder), tmp_path)
    monkeypatch.undo()
    other = create_encoder("resnet10t", spec=SPEC, seed=1)
    cached_embeddings(dataset, other, view_of(other), tmp_path)
    cached_embeddings(dataset, encoder, view_of(encoder, magnify=2), tmp_path)
    assert len(list(tmp_path.iterdir())) == 3


def test_the_digest_is_of_weights_and_normalisation() -> None:
    encoder = create_encoder("resnet10t", spec=SPEC)
    assert encoder_digest(encoder) == encoder_digest(create_encoder("resnet10t", spec=SPEC))
    assert encoder_digest(encoder) != encoder_digest(create_encoder("resnet10t", spec=SPEC, seed=1))
    assert encoder_digest(encoder) != encoder_digest(replace(encoder, mean=(0.0, 0.0, 0.0)))


def test_the_embedder_leaves_the_encoder_alone() -> None:
    encoder = create_encoder("resnet10t", spec=SPEC)
    pixels = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), np.uint8)
    np.testing.assert_array_equal(embedder(encoder)(pixels), encoder.embed(pixels))


@pytest.mark.parametrize(
    ("architecture", "any_size"),
    [
        ("mean-colour", True),
        ("vit_tiny_patch16_224", True),
        ("mixer_s32_224", False),
        ("deit_tiny_patch16_224", False),
        ("efficientformer_l1", False),  # which does not say so
        ("vit_small_patch14_dinov2", False),  # takes multiples of 14 px
    ],
)
def test_token_models_are_shown_only_their_own_size(
    coloured: Make, architecture: str, any_size: bool
) -> None:
    encoder = create_encoder(architecture, spec=TileSpec(size_px=224, mpp=0.5))
    view = view_of(encoder)
    assert view.any_size is any_size
    assert embed_images(coloured(count=3), encoder.embed, view).shape == (3, encoder.dim)
