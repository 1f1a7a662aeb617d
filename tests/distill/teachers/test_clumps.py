"""Clumps of which people drew the outline, divided by a teacher that is right about distances."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from distill.encoders import IMAGENET_MEAN, IMAGENET_STD
from distill.targets import nuclei_maps
from distill.teachers.clumps import divide_clumps
from distill.teachers.labelled import UNKNOWN, Labelled
from distill.teachers.postprocess import Thresholds
from distill.teachers.teacher import Teacher

EDGE = 96


class ReadsDistances(nn.Module):
    """Finds the distances in red and green, and no nuclei at all."""

    def forward(self, x: Tensor) -> Tensor:
        mean, std = (torch.tensor(v)[:, None, None] for v in (IMAGENET_MEAN, IMAGENET_STD))
        distances = (x * std + mean)[:, :2] * 2 - 1
        return torch.cat([torch.full_like(distances[:, :1], -9), distances], dim=1)


def discs() -> NDArray[np.int32]:
    """1 and 2 touch, 3 is alone, 4 is a speck."""
    y, x = np.mgrid[:EDGE, :EDGE]
    labels = np.zeros((EDGE, EDGE), np.int32)
    for number, (row, column, radius) in enumerate(
        [(30, 30, 11), (30, 51, 11), (70, 30, 12), (80, 80, 2)], start=1
    ):
        labels[np.hypot(y - row, x - column) < radius] = number
    return labels


def image_of(labels: NDArray[np.int32], truth: NDArray[np.int32]) -> Labelled:
    distances = nuclei_maps(truth)[1:]
    pixels = np.full((EDGE, EDGE, 3), 128, np.uint8)
    pixels[..., :2] = np.rint((distances.transpose(1, 2, 0) + 1) * 127.5)
    return Labelled(pixels=pixels, instances=labels, name="discs", case="discs", mpp=0.25)


@pytest.fixture
def teacher() -> Teacher:
    return Teacher(net=ReadsDistances(), mpp=0.25, thresholds=Thresholds(), sha256="0" * 64)


def test_a_clump_is_divided_and_the_rest_stays(teacher: Teacher) -> None:
    truth = discs()
    labels = np.where(np.isin(truth, (1, 2, 4)), UNKNOWN, truth)
    image = image_of(labels, truth)
    divided = divide_clumps(image, teacher, turns=1, bfloat16=False)
    assert ((divided.instances == 3) == (truth == 3)).all()
    # Found by the distances alone: the borders are those that people drew.
    assert ((divided.instances != 0) == (truth != 0)).all()
    first, second = (np.unique(divided.instances[truth == number]) for number in (1, 2))
    commonest = [np.bincount(divided.instances[truth == number]).argmax() for number in (1, 2)]
    assert commonest[0] != commonest[1]
    assert 3 not in (*first, *second)
    for number, found in zip((1, 2), commonest, strict=True):
        assert (divided.instances[truth == number] == found).mean() > 0.95
    assert (divided.instances[truth == 4] == UNKNOWN).all()


def test_what_is_told_apart_already_is_not_looked_at(teacher: Teacher) -> None:
    image = image_of(discs(), discs())
    assert divide_clumps(image, teacher, turns=1, bfloat16=False) is image
