"""Nuclei by their haematoxylin: on made-up tissue, on real tissue with known nuclei, on glass."""

from pathlib import Path

import numpy as np
import pytest

from distill.metrics import score
from distill.teachers.haematoxylin import label_by_haematoxylin
from distill.teachers.read import read_labelled
from wsi.stain import NotEstimable

EOSIN, HAEMATOXYLIN = np.array([0.05, 0.45, 0.20]), np.array([0.90, 0.95, 0.55])


def tissue(centres: list[tuple[int, int]], *, radius: float, size: int = 160) -> np.ndarray:
    """Round nuclei on eosin, uint8; a little noise, as a camera has it."""
    y, x = np.mgrid[:size, :size]
    density = np.tile(EOSIN, (size, size, 1))
    for row, column in centres:
        density[np.hypot(y - row, x - column) < radius] = HAEMATOXYLIN
    noise = np.random.default_rng(0).normal(0, 0.02, density.shape)
    return (255 * np.exp(-np.clip(density + noise, 0, None))).round().astype(np.uint8)


@pytest.mark.parametrize("mpp", [0.25, 0.5])
def test_round_nuclei_are_found_and_touching_ones_divided(mpp: float) -> None:
    radius = 3.5 / mpp
    apart = round(1.7 * radius)  # they overlap by a waist
    centres = [(40, 40), (40, 40 + apart), (110, 50), (110, 120)]
    instances = label_by_haematoxylin(tissue(centres, radius=radius), mpp=mpp)
    assert not isinstance(instances, NotEstimable)
    assert instances.dtype == np.int32
    assert (
        sorted({int(instances[c]) for c in centres})
        == [1, 2, 3, 4]
        == np.unique(instances)[1:].tolist()
    )
    found, expected = (instances > 0).sum(), len(centres) * np.pi * radius**2
    assert 0.8 < found / expected < 1.1


def test_glass_is_not_labelled() -> None:
    glass = np.full((64, 64, 3), 243, np.uint8)
    assert isinstance(label_by_haematoxylin(glass, mpp=0.5), NotEstimable)


def test_real_nuclei_are_found(shared_data: Path) -> None:
    images = [i for i in read_labelled(shared_data / "monuseg", mpp=0.25) if i.complete]
    scores = []
    for image in images[:4]:
        instances = label_by_haematoxylin(image.pixels, mpp=0.25)
        assert not isinstance(instances, NotEstimable)
        scores.append(score(image.instances, instances))
    assert np.mean([s.dice for s in scores]) > 0.65
    assert np.mean([s.aji for s in scores]) > 0.35
