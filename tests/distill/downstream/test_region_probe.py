"""The region probe tells textures apart, pixel by pixel."""

from dataclasses import replace
from typing import Literal

import numpy as np
import pytest
import torch

from distill.downstream.decoder_probe import Segmenting
from distill.downstream.region_probe import segment_regions
from distill.downstream.regions import RegionImage, RegionSet
from distill.encoders import Encoder, create_encoder
from distill.errors import LabelledDataError, ModelError
from wsi.plan import TileSpec


def image(seed: int, *, height: int = 70, width: int = 100, mpp: float = 0.5) -> RegionImage:
    """Smooth pink to the left of an edge, coarse grey speckle to the right."""
    generator = np.random.default_rng(seed)
    edge = int(generator.integers(30, 70)) * width // 100
    pixels = np.full((height, width, 3), (220, 160, 190), np.int64)
    pixels[:, edge:] = generator.integers(60, 160, (height, width - edge, 1))
    regions = np.zeros((height, width), np.uint8)
    regions[:, edge:] = 1
    return RegionImage(
        pixels=pixels.astype(np.uint8), regions=regions, name=f"i{seed}", case=f"c{seed}", mpp=mpp
    )


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return create_encoder("resnet10t", spec=TileSpec(size_px=64, mpp=0.5))


@pytest.mark.parametrize(
    ("mode", "bfloat16", "least"),
    [("frozen", False, 0.7), ("frozen", True, 0.7), ("finetune", False, 0.9)],
)
def test_it_tells_textures_apart_and_leaves_the_encoder_alone(
    encoder: Encoder, mode: Literal["frozen", "finetune"], bfloat16: bool, least: float
) -> None:
    settings = Segmenting(
        mode=mode,
        steps=60,
        batch_size=4,
        crop_px=64,
        learning_rate=5e-3,
        bfloat16=bfloat16,
    )
    before = [value.clone() for value in encoder.module.state_dict().values()]
    known, asked = [image(n) for n in range(4)], [image(8), image(9)]
    confusions = segment_regions(encoder, known, asked, settings, n_classes=2)
    for found, of in zip(confusions, asked, strict=True):
        assert np.trace(found) / found.sum() > least
        # Every pixel of the image at the decoder's stride, none of what was mirrored.
        assert found.sum() == (70 // 2) * (100 // 2)
        assert found.sum(1).tolist() == [np.sum(of.regions[::2, ::2] == c) for c in (0, 1)]
    after = encoder.module.state_dict().values()
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_images_are_brought_to_the_encoders_resolution(encoder: Encoder) -> None:
    settings = Segmenting(steps=1, batch_size=2, crop_px=64)
    fine = image(3, height=140, width=200, mpp=0.25)
    (found,) = segment_regions(encoder, [fine], [fine], settings, n_classes=2)
    assert found.sum() == 35 * 50
    assert found.sum(1)[1] / found.sum() == pytest.approx(fine.regions.mean(), abs=0.03)


def test_what_does_not_fit_is_refused(encoder: Encoder) -> None:
    colour = create_encoder("mean-colour", spec=TileSpec(size_px=64, mpp=0.5))
    with pytest.raises(ModelError, match="no feature maps"):
        segment_regions(colour, [image(0)], [image(1)], Segmenting(steps=1), n_classes=2)
    known = {"name": "t", "classes": ("a", "b"), "licence": "none"}
    with pytest.raises(LabelledDataError, match="class 2, known are 0 to 1"):
        RegionSet(images=(replace(image(0), regions=image(0).regions * 2),), **known)  # type: ignore[arg-type]
    with pytest.raises(LabelledDataError, match=r"\(70, 100\), its mask \(69, 100\)"):
        RegionSet(images=(replace(image(0), regions=image(0).regions[1:]),), **known)  # type: ignore[arg-type]
