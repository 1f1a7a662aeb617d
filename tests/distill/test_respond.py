"""A network as a teacher: at any stride and resolution, and on the right pixels."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from distill.encoders import normalise
from distill.nuclei_net import responses_of
from distill.respond import reduce_soft, teacher_of
from distill.targets import nuclei_maps, reduce_maps
from distill.teachers.teacher import build_net


class Dark(nn.Module):
    """Says nucleus where the image is dark; distances are the other two colours."""

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.pool = nn.AvgPool2d(stride)
        self.weight = nn.Parameter(torch.zeros(1))
        self.saw: tuple[int, ...] = ()

    def forward(self, x: Tensor) -> Tensor:
        self.saw = tuple(x.shape)
        x = self.pool(x)
        return torch.cat([-20 * x[:, :1], x[:, 1:]], 1)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(("scale", "seen"), [(1.0, 64), (2.0, 128), (1.24, 64)])
def test_answers_are_probabilities_at_stride_two_on_the_same_pixels(
    stride: int, scale: float, seen: int
) -> None:
    pixels = np.full((2, 64, 64, 3), 255, np.uint8)
    pixels[1, 16:32, 40:56] = 0
    net = Dark(stride)
    maps = teacher_of(net, scale=scale)(pixels)
    assert net.saw == (2, 3, seen, seen)  # a multiple of 32
    assert maps.shape == (2, 3, 32, 32)
    assert 0 <= maps[:, 0].min() < maps[:, 0].max() <= 1
    assert np.abs(maps[:, 1:]).max() <= 1
    expected = np.zeros((32, 32), bool)
    expected[8:16, 20:28] = True
    np.testing.assert_array_equal(maps[1, 0] > 0.5, expected)
    assert not (maps[0, 0] > 0.5).any()


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("edge", [72, 96])
def test_tiles_that_are_no_multiple_of_32_are_mirrored(stride: int, edge: int) -> None:
    """Not resized: at the teacher's own resolution, nuclei keep the size it knows."""
    pixels = np.random.default_rng(0).integers(0, 256, (2, edge, edge, 3), np.uint8)
    net = Dark(stride)
    maps = teacher_of(net)(pixels)
    assert net.saw == (2, 3, 96, 96)
    x = normalise(torch.from_numpy(pixels))
    soft = responses_of(Dark(stride)(x))
    expected = reduce_soft(soft, edge // 2, edge // 2)
    np.testing.assert_allclose(maps, expected, atol=1e-6)


def test_tiles_of_finer_resolution_are_averaged_for_a_teacher() -> None:
    """Two light columns of every four are grey at a quarter of the size, not light."""
    pixels = np.zeros((1, 128, 128, 3), np.uint8)
    pixels[:, :, 1::4] = pixels[:, :, 2::4] = 255
    saw: list[Tensor] = []
    net = Dark(1)
    net.register_forward_pre_hook(lambda _, given: saw.append(given[0]))
    teacher_of(net, scale=0.25)(pixels)
    grey = normalise(torch.full((1, 32, 32, 3), 127, dtype=torch.uint8))
    inside = saw[0][..., 4:-4] - grey[..., 4:-4]  # at the edges there is less to average
    assert inside.abs().max() < 0.1


def test_a_teacher_answers_tiles_of_any_even_edge() -> None:
    pixels = np.zeros((1, 72, 72, 3), np.uint8)
    assert teacher_of(build_net("resnet10t"))(pixels).shape == (1, 3, 36, 36)


@pytest.mark.parametrize("certainty", [1.0, 0.1])
def test_maps_are_reduced_as_targets_are(certainty: float) -> None:
    instances = np.zeros((48, 48), np.int32)
    instances[5:20, 7:23], instances[20:41, 11:30] = 1, 2
    maps = nuclei_maps(instances)
    maps[0] *= certainty
    for stride in (2, 4):
        expected = reduce_maps(maps, stride)
        found = reduce_soft(torch.from_numpy(maps[None]), 48 // stride, 48 // stride)[0].numpy()
        inside = expected[0] > 0
        np.testing.assert_allclose(found[0], expected[0], atol=1e-6)
        np.testing.assert_allclose(found[1:, inside], expected[1:, inside], atol=1e-5)
