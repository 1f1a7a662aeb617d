"""How well a student repeats its teacher: nuclei that are counted, and a perfect student."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from distill.collapse import measure_spread, spread_of
from distill.fidelity import count_nuclei, measure_fidelity
from distill.losses import fidelity
from distill.targets import nuclei_maps, reduce_maps
from wsi.testing import nuclei_crops


class Answers(nn.Module):
    """Gives prepared maps in turn, whatever it sees."""

    def __init__(self, maps: torch.Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.maps = maps
        self.at = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.at += len(x)
        return self.maps[self.at - len(x) : self.at]


@pytest.fixture(scope="module")
def truth() -> np.ndarray:
    _, instances = nuclei_crops(count=40, size_px=128, seed=0)
    return np.stack([reduce_maps(nuclei_maps(of), 2) for of in instances])


def as_logits(maps: np.ndarray) -> torch.Tensor:
    answer = torch.from_numpy(maps.copy())
    answer[:, 0] = torch.logit(answer[:, 0], eps=1e-4)
    return answer


def test_nuclei_that_touch_are_two() -> None:
    instances = np.zeros((64, 64), np.int32)
    instances[10:30, 10:30], instances[10:30, 30:50] = 1, 2
    instances[40:56, 20:36] = 3
    assert count_nuclei(torch.from_numpy(nuclei_maps(instances))) == 3
    assert count_nuclei(torch.from_numpy(reduce_maps(nuclei_maps(instances), 2))) == 3
    assert count_nuclei(torch.zeros(3, 16, 16)) == 0


def test_a_perfect_student_is_perfect_and_one_who_mixes_tiles_up_is_not(truth: np.ndarray) -> None:
    pixels = np.zeros((40, 128, 128, 3), np.uint8)
    perfect = measure_fidelity(Answers(as_logits(truth)), pixels, truth)  # type: ignore[arg-type]
    assert perfect == pytest.approx(
        {"dice": 1, "distance_error": 0, "count_correlation": 1}, abs=1e-5
    )
    mixed = measure_fidelity(Answers(as_logits(truth[::-1])), pixels, truth)  # type: ignore[arg-type]
    assert mixed["dice"] < 0.6
    assert abs(mixed["count_correlation"]) < 0.6
    known = fidelity(as_logits(truth[::-1]), torch.from_numpy(truth))
    assert mixed["dice"] == pytest.approx(known["dice"])


def test_counts_that_do_not_differ_have_no_correlation(truth: np.ndarray) -> None:
    same = np.repeat(truth[:1], 3, 0)
    measured = measure_fidelity(
        Answers(as_logits(same)),  # type: ignore[arg-type]
        np.zeros((3, 128, 128, 3), np.uint8),
        same,
    )
    assert math.isnan(measured["count_correlation"])


def test_spread_tells_random_embeddings_from_equal_ones() -> None:
    generator = torch.Generator().manual_seed(0)
    assert spread_of(torch.randn(2000, 64, generator=generator)) == pytest.approx(1, abs=0.02)
    assert spread_of(torch.ones(50, 64)) == pytest.approx(0, abs=1e-6)
    assert math.isnan(spread_of(torch.ones(1, 64)))


def test_spread_of_an_encoder_is_that_of_its_embeddings() -> None:
    torch.manual_seed(0)
    encoder = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 4)).eval()
    pixels = np.random.default_rng(0).integers(0, 256, (50, 8, 8, 3), np.uint8)
    alike = np.repeat(pixels[:1], 50, 0)
    assert measure_spread(encoder, alike)["spread"] == pytest.approx(0, abs=1e-4)
    assert 0.001 < measure_spread(encoder, pixels)["spread"] < 1
