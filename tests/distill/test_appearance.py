"""What nuclei look like: measured, stored in a byte, and taught to the coarsest features."""

import numpy as np
import pytest
import torch
from torch import Generator

from distill.appearance import (
    APPEARANCE,
    MOST,
    STANDARD,
    STEPS,
    appearance_of_nuclei,
    appearance_of_response,
    dequantise_appearance,
    quantise_appearance,
)
from distill.encoders import create_backbone
from distill.objectives.appearance_loss import DENSITY, appearance_loss
from distill.student_net import StudentNet
from distill.targets import nuclei_maps
from wsi.testing import nuclei_crops

MPP = 1.0


@pytest.fixture(scope="module")
def crop() -> tuple[np.ndarray, np.ndarray]:
    pixels, instances = nuclei_crops(count=1, size_px=128, seed=0)
    return pixels[0], instances[0]


def test_each_pixel_has_the_measures_of_its_nucleus(crop: tuple[np.ndarray, np.ndarray]) -> None:
    pixels, instances = crop
    found = appearance_of_nuclei(instances, pixels, mpp=MPP)
    assert found.shape == (len(APPEARANCE), *instances.shape)
    assert np.array_equal(np.isnan(found[0]), instances == 0)
    mean, spread = STANDARD["size"]
    for number in np.unique(instances[instances > 0]):
        inside = instances == number
        expected = np.clip((np.log(inside.sum() * MPP**2) - mean) / spread, -MOST, MOST)
        assert found[0][inside] == pytest.approx(expected, abs=1e-5)


def test_unknown_nuclei_look_like_nothing(crop: tuple[np.ndarray, np.ndarray]) -> None:
    pixels, instances = crop
    number = instances.max()
    unknown = np.where(instances == number, -1, instances)
    found = appearance_of_nuclei(unknown, pixels, mpp=MPP)
    assert np.array_equal(np.isnan(found[0]), unknown <= 0)


def test_a_perfect_response_gives_what_the_labels_do(crop: tuple[np.ndarray, np.ndarray]) -> None:
    pixels, instances = crop
    finer = pixels.repeat(2, 0).repeat(2, 1)  # the maps have half the pixels' resolution
    by_response = appearance_of_response(nuclei_maps(instances), finer, mpp=MPP)
    by_label = appearance_of_nuclei(instances, pixels, mpp=MPP)
    both = ~np.isnan(by_response[0]) & ~np.isnan(by_label[0])
    assert both.sum() > 0.8 * (instances > 0).sum()
    difference = np.abs(by_response - by_label)[:, both]
    assert np.median(difference, axis=1).max() < 0.1


def test_a_tile_without_nuclei_has_no_appearance() -> None:
    maps = np.zeros((3, 32, 32), np.float32)
    found = appearance_of_response(maps, np.full((64, 64, 3), 240, np.uint8), mpp=MPP)
    assert np.isnan(found).all()


def test_a_byte_holds_a_value_and_that_there_is_none() -> None:
    values = np.array([-MOST, -0.3, 0, 1.234, MOST, np.nan], np.float32)
    found = dequantise_appearance(quantise_appearance(values))
    assert np.isnan(found[-1])
    assert np.abs(found[:-1] - values[:-1]).max() <= 0.5 / STEPS + 1e-6


def target_of(density: float, appearance: float) -> torch.Tensor:
    """(1, 8, 32, 32) with nuclei in the left half of each cell."""
    target = torch.zeros(1, 8, 32, 32)
    target[:, 3:] = torch.nan
    for left in (0, 16):
        target[:, 0, :, left : left + 8] = 2 * density
        target[:, 3:, :, left : left + 8] = appearance
    return target


def test_who_says_density_and_appearance_has_no_loss() -> None:
    target = target_of(density=0.4, appearance=1.5)
    said = torch.full((1, 6, 32, 32), 1.5)
    said[:, 0] = (0.4 - DENSITY[0]) / DENSITY[1]
    assert appearance_loss(said, target).item() == pytest.approx(0, abs=1e-9)
    wrong = said.clone()
    wrong[:, 0] += 1
    assert appearance_loss(wrong, target).item() == pytest.approx(1, rel=1e-4)
    wrong = said.clone()
    wrong[:, 1:] += 2
    assert appearance_loss(wrong, target).item() == pytest.approx(4, rel=1e-4)


def test_where_no_nuclei_are_their_appearance_does_not_count() -> None:
    target = target_of(density=0.0, appearance=torch.nan)
    said = torch.zeros(1, 6, 32, 32, requires_grad=True)
    loss = appearance_loss(said, target)
    loss.backward()
    assert said.grad is not None
    assert said.grad[:, 0].abs().sum() > 0
    assert not said.grad[:, 1:].any()
    assert loss.isfinite()


@pytest.mark.parametrize("architecture", ["resnet10t", "vit_tiny_patch16_224", "inception_v3"])
def test_appearance_comes_from_the_coarsest_features_alone(architecture: str) -> None:
    net = StudentNet(create_backbone(architecture)).eval()
    size = 224 if "vit" in architecture else 96
    x = torch.rand(1, 3, size, size, generator=Generator().manual_seed(0))
    with torch.no_grad():
        said = net(x)
        assert said.shape == (1, 9, size // 2, size // 2)
        torch.testing.assert_close(said[:, :3], net.nuclei(x))
    for module in (net.nuclei.lateral, net.nuclei.smooth, net.nuclei.refine, net.nuclei.head):
        module.requires_grad_(False)
    net(x)[:, 3:].square().sum().backward()
    assert all(p.grad is None for p in net.nuclei.head.parameters())
    assert any(p.grad is not None and p.grad.any() for p in net.nuclei.backbone.parameters())
