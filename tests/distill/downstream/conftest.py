"""Tiny labelled images whose classes differ in a way that is known."""

from collections.abc import Callable

import numpy as np
import pytest

from distill.downstream.dataset import ArrayImages, LabelledImages


@pytest.fixture(scope="session")
def coloured() -> Callable[..., LabelledImages]:
    """Make images of a colour a class with noise, four images a patient."""

    def make(count: int = 48, classes: int = 3, edge: int = 20, seed: int = 0) -> LabelledImages:
        generator = np.random.default_rng(seed)
        targets = np.arange(count) % classes
        base = np.array([[200, 80, 120], [110, 90, 190], [160, 160, 90], [60, 60, 60]])[targets]
        noise = generator.normal(0, 25, (count, edge, edge, 3))
        pixels = np.clip(base[:, None, None] + noise, 0, 255).astype(np.uint8)
        return LabelledImages(
            name="coloured",
            images=ArrayImages(pixels),
            sample_ids=tuple(f"s{n}" for n in range(count)),
            classes=tuple("abcd"[:classes]),
            targets=targets.astype(np.int64),
            patient_ids=tuple(f"p{n // 4}" for n in range(count)),
            splits=None,
            mpp=0.5,
            licence="CC0-1.0",
        )

    return make
