"""Training crops: pixels and target move together, and a crop's number decides it."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from distill.encoders import IMAGENET_MEAN, IMAGENET_STD
from distill.targets import nuclei_maps
from distill.teachers import crops as crops_module
from distill.teachers.colour import vary_colour
from distill.teachers.crops import Crops, Geometry, Sample, target_of
from distill.teachers.labelled import UNKNOWN, Labelled
from wsi.slide import Pixels

PLAIN = Geometry(scale=(1.0, 1.0), stretch=0.0, bend_px=0.0)


def discs(size: int = 300) -> Labelled:
    """Dark discs on white, so that the pixels say where the nuclei are."""
    y, x = np.mgrid[:size, :size]
    instances = np.zeros((size, size), np.int32)
    for number, (row, column) in enumerate(np.ndindex(6, 6), start=1):
        inside = (y - 30 - 48 * row) ** 2 + (x - 30 - 48 * column) ** 2 < (8 + number % 7) ** 2
        instances[inside] = number
    pixels = np.where(instances[..., None] > 0, np.uint8(60), np.uint8(235)).repeat(3, axis=2)
    return Labelled(pixels=pixels, instances=instances, name="discs", case="discs")


def sample(image: Labelled) -> Sample:
    return image.pixels, image.instances


def brightness(crop: torch.Tensor) -> NDArray[np.float32]:
    """(S, S) mean grey value, 0-255, of a normalised crop."""
    colour = crop.permute(1, 2, 0) * torch.tensor(IMAGENET_STD) + torch.tensor(IMAGENET_MEAN)
    return 255 * colour.mean(2).numpy()


def test_nuclei_lie_where_the_crop_is_dark() -> None:
    for crop, target in Crops([sample(discs())], target_of, size_px=128, count=20):
        assert crop.shape == (3, 128, 128)
        assert target.shape == (4, 128, 128)
        grey = brightness(crop)
        middle = (grey.min() + grey.max()) / 2
        # Noise, blur and interpolation leave the borders in doubt, no more.
        assert ((grey < middle) == (target[0].numpy() > 0)).mean() > 0.93


def test_distances_rise_along_their_axes_in_every_crop() -> None:
    for _, target in Crops([sample(discs())], target_of, size_px=128, count=10):
        horizontal, vertical, known = target[1:].numpy()
        inside = (known[1:, 1:] > 0) & (known[:-1, :-1] > 0) & (known[1:, :-1] > 0)
        assert (np.diff(horizontal, axis=1)[1:][inside] > 0).mean() > 0.99
        assert (np.diff(vertical, axis=0)[:, 1:][inside] > 0).mean() > 0.95


def test_a_crop_is_decided_by_seed_and_number() -> None:
    images = [sample(discs())]
    straight = Crops(images, target_of, size_px=64, count=10, seed=3)
    resumed = Crops(images, target_of, size_px=64, count=4, first=6, seed=3)
    for index in range(4):
        for one, other in zip(straight[6 + index], resumed[index], strict=True):
            assert torch.equal(one, other)
    assert not torch.equal(straight[0][0], straight[1][0])
    assert not torch.equal(
        straight[0][0], Crops(images, target_of, size_px=64, count=1, seed=4)[0][0]
    )


def test_the_target_is_exact_after_the_geometry() -> None:
    instances = discs().instances[:128, :128]
    expected = nuclei_maps(instances)
    target = target_of(instances)
    np.testing.assert_array_equal(target[:3], expected)
    np.testing.assert_array_equal(target[3], instances > 0)


def test_nuclei_that_are_not_told_apart_have_no_known_distance() -> None:
    instances = discs().instances[:128, :128].copy()
    unknown = instances == instances[30, 30]
    instances[unknown] = UNKNOWN
    target = target_of(instances)
    assert (target[0, unknown] == 1).all()
    assert not target[1:, unknown].any()
    assert (target[3] == (instances > 0)).all()


def test_parts_of_a_torn_nucleus_have_a_centre_each() -> None:
    instances = np.zeros((40, 40), np.int32)
    instances[5:15, 5:15] = instances[20:30, 25:35] = 4
    target = target_of(instances)
    np.testing.assert_allclose(target[1, 10, 5:15], np.linspace(-1, 1, 10), atol=1e-6)
    np.testing.assert_allclose(target[1, 25, 25:35], np.linspace(-1, 1, 10), atol=1e-6)


def test_images_smaller_than_a_crop_are_mirrored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crops_module, "vary_colour", lambda pixels, _, **__: pixels)
    small = discs(60)
    for crop, target in Crops([sample(small)], target_of, size_px=128, count=10, geometry=PLAIN):
        assert ((brightness(crop) < 148) == (target[0].numpy() > 0)).mean() > 0.98
        assert (target[0] > 0).any()


def test_each_pixel_is_seen_equally_often() -> None:
    large, small = discs(300), discs(100)
    drawn = Crops([sample(large), sample(small)], target_of, size_px=32, count=1)
    np.testing.assert_allclose(drawn.weights, [0.9, 0.1])


def tissue() -> Pixels:
    colours = np.array([[240, 238, 241], [200, 120, 180], [90, 60, 140]], np.uint8)
    blocks = np.random.default_rng(0).integers(0, 3, (8, 8))
    return colours[blocks.repeat(8, axis=0).repeat(8, axis=1)]


def test_colour_varies_and_stays_tissue() -> None:
    varied = [vary_colour(tissue(), np.random.default_rng(seed)) for seed in range(40)]
    means = np.array([v.mean(axis=(0, 1)) for v in varied])
    assert (means.std(axis=0) > 8).all()
    assert np.abs(means.mean(axis=0) - tissue().mean(axis=(0, 1))).max() < 20
    for pixels in varied:
        assert pixels.dtype == np.uint8
        assert pixels.shape == (64, 64, 3)
        grey, before = pixels.mean(axis=2), tissue().mean(axis=2)
        assert np.corrcoef(grey.ravel(), before.ravel())[0, 1] > 0.8


def test_colour_varies_as_far_as_asked() -> None:
    spread = []
    for strength in (0.0, 0.5, 1.0):
        means = [
            vary_colour(tissue(), np.random.default_rng(seed), strength=strength).mean(axis=(0, 1))
            for seed in range(40)
        ]
        spread.append(np.std(means, axis=0).mean())
    assert spread[0] < 1  # focus and noise alone
    assert 0.3 * spread[2] < spread[1] < 0.7 * spread[2]
