"""Augmentation: a turned image with turned maps must be what turned nuclei would give."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from torch import Generator, Tensor

from distill.augment import (
    flip_horizontal,
    random_crop,
    random_geometry,
    rotate_quarter,
)
from distill.targets import nuclei_maps

instance_maps = arrays(
    np.int32,
    st.tuples(st.integers(1, 10), st.integers(1, 10)),
    elements=st.sampled_from([0, 0, 1, 5, 99]),
)


def maps_of(instances: NDArray[np.int32]) -> Tensor:
    """(1, 3, H, W) of one instance map."""
    return torch.from_numpy(nuclei_maps(np.ascontiguousarray(instances)))[None]


def as_pixels(instances: NDArray[np.int32]) -> Tensor:
    """(1, H, W, 3) uint8 that show the numbers of the nuclei."""
    return torch.from_numpy(instances.astype(np.uint8))[None, ..., None].repeat(1, 1, 1, 3)


@given(instances=instance_maps)
def test_flipped_maps_are_the_maps_of_flipped_nuclei(instances: NDArray[np.int32]) -> None:
    expected = maps_of(np.fliplr(instances))
    torch.testing.assert_close(flip_horizontal(maps_of(instances)), expected)


@given(instances=instance_maps)
def test_turned_maps_are_the_maps_of_turned_nuclei(instances: NDArray[np.int32]) -> None:
    torch.testing.assert_close(rotate_quarter(maps_of(instances)), maps_of(np.rot90(instances)))


@given(instances=instance_maps, seed=st.integers(0, 10**6))
def test_pixels_and_maps_are_turned_together(instances: NDArray[np.int32], seed: int) -> None:
    pixels, maps = random_geometry(
        as_pixels(instances), maps_of(instances), Generator().manual_seed(seed)
    )
    seen = pixels[0, ..., 0].numpy().astype(np.int32)
    torch.testing.assert_close(maps, maps_of(seen))


def test_all_eight_orientations_are_drawn() -> None:
    instances = np.arange(6, dtype=np.int32).reshape(2, 3)
    generator = Generator().manual_seed(0)
    seen = {
        random_geometry(as_pixels(instances), maps_of(instances), generator)[0].numpy().tobytes()
        + bytes(pixels.shape[1])
        for pixels in [as_pixels(instances)] * 200
    }
    assert len(seen) == 8


@pytest.mark.parametrize(("height", "width"), [(64, 64), (64, 96), (32, 64)])
def test_crops_of_pixels_and_maps_are_of_the_same_place(height: int, width: int) -> None:
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    pixels = torch.stack([x, y, 0 * x], dim=-1).to(torch.uint8)[None].repeat(2, 1, 1, 1)
    maps = torch.stack([0 * x, x, y])[None, :, ::2, ::2].float().repeat(2, 1, 1, 1)
    generator = Generator().manual_seed(0)
    places = set()
    for _ in range(300):
        crop, target = random_crop(pixels, maps, 32, 2, generator)
        assert crop.shape == (2, 32, 32, 3)
        assert target.shape == (2, 3, 16, 16)
        torch.testing.assert_close(crop[:, ::2, ::2, 0].float(), target[:, 1])
        torch.testing.assert_close(crop[:, ::2, ::2, 1].float(), target[:, 2])
        places.add((int(crop[0, 0, 0, 0]), int(crop[0, 0, 0, 1])))
    assert {left for left, _ in places} == set(range(0, width - 31, 2))
    assert {top for _, top in places} == set(range(0, height - 31, 2))


def test_the_generator_decides() -> None:
    pixels = torch.randint(0, 256, (2, 64, 64, 3), generator=Generator().manual_seed(9)).byte()
    maps = torch.rand(2, 3, 32, 32, generator=Generator().manual_seed(9))

    def augmented(seed: int) -> tuple[Tensor, Tensor]:
        generator = Generator().manual_seed(seed)
        crop, target = random_crop(pixels, maps, 32, 2, generator)
        return random_geometry(crop, target, generator)

    for one, same, other in zip(augmented(1), augmented(1), augmented(2), strict=True):
        assert torch.equal(one, same)
        assert not torch.equal(one, other)
