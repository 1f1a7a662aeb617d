"""The segmentation probe finds dark discs; what is frozen stays as it is."""

from dataclasses import replace
from typing import Literal

import numpy as np
import pytest
import torch
from skimage.draw import disk

from distill.downstream.decoder_probe import Segmenting
from distill.downstream.nuclei_probe import segment
from distill.encoders import Encoder, create_encoder
from distill.errors import LabelledDataError, ModelError
from distill.teachers.labelled import UNKNOWN, Labelled
from wsi.plan import TileSpec


def image(seed: int, edge: int = 80, mpp: float = 0.5) -> Labelled:
    generator = np.random.default_rng(seed)
    pixels = np.full((edge, edge, 3), (230, 170, 200), np.int64)
    instances = np.zeros((edge, edge), np.int32)
    for number, centre in enumerate(generator.integers(8, edge - 8, (10, 2)), start=1):
        inside = disk(centre, 7, shape=instances.shape)
        pixels[inside], instances[inside] = (80, 50, 130), number
    pixels += generator.normal(0, 6, pixels.shape).astype(np.int64)
    return Labelled(
        pixels=np.clip(pixels, 0, 255).astype(np.uint8),
        instances=instances,
        name=f"i{seed}",
        case=f"c{seed}",
        mpp=mpp,
    )


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return create_encoder("resnet10t", spec=TileSpec(size_px=64, mpp=0.5))


@pytest.mark.parametrize(
    ("mode", "bfloat16", "least"),
    [("frozen", False, 0.6), ("frozen", True, 0.6), ("finetune", False, 0.8)],
)
def test_it_finds_nuclei_and_leaves_the_encoder_alone(
    encoder: Encoder, mode: Literal["frozen", "finetune"], bfloat16: bool, least: float
) -> None:
    settings = Segmenting(
        mode=mode,
        steps=100,
        batch_size=4,
        crop_px=64,
        learning_rate=5e-3,
        bfloat16=bfloat16,
    )
    before = [value.clone() for value in encoder.module.state_dict().values()]
    (overlap,) = segment(encoder, [image(n) for n in range(4)], [image(9)], settings)
    dice = 2 * overlap.both / (overlap.predicted + overlap.actual)
    assert dice > least
    assert overlap.aji > least - 0.3  # discs that overlap come out as one
    asked = image(9).instances[::2, ::2]
    assert overlap.actual == pytest.approx((asked > 0).sum(), rel=0.1)
    after = encoder.module.state_dict().values()
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_an_untrained_decoder_is_worse(encoder: Encoder) -> None:
    settings = Segmenting(steps=1, batch_size=4, crop_px=64, learning_rate=1e-9)
    (overlap,) = segment(encoder, [image(0)], [image(9)], settings)
    assert 2 * overlap.both / max(1, overlap.predicted + overlap.actual) < 0.5


def test_images_are_brought_to_the_encoders_resolution(encoder: Encoder) -> None:
    settings = Segmenting(steps=1, batch_size=2, crop_px=64)
    instances = np.zeros((160, 160), np.int32)
    instances[40:120, 80:160] = 1
    fine = replace(image(3, edge=160, mpp=0.25), instances=instances)
    (overlap,) = segment(encoder, [fine], [fine], settings)
    assert overlap.actual == (80 // 2 // 2) ** 2


def test_nuclei_that_are_not_told_apart_are_refused(encoder: Encoder) -> None:
    unsure = image(0)
    unsure.instances[:8, :8] = UNKNOWN
    for learn_from, asked in ((unsure, image(1)), (image(1), unsure)):
        with pytest.raises(LabelledDataError, match="i0: of some nuclei"):
            segment(encoder, [learn_from], [asked], Segmenting(steps=1, crop_px=64))


def test_the_mean_colour_cannot_segment() -> None:
    encoder = create_encoder("mean-colour", spec=TileSpec(size_px=64, mpp=0.5))
    with pytest.raises(ModelError, match="no feature maps"):
        segment(encoder, [image(0)], [image(1)], Segmenting(steps=1))
