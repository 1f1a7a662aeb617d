"""Images keep their colours and labels their numbers at another resolution."""

import numpy as np
import pytest

from distill.resample import at_mpp, resample, resize_labels
from wsi.slide import Pixels


def noise(height: int, width: int) -> Pixels:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def test_resampling_keeps_the_mean_colour() -> None:
    image = noise(60, 80)
    smaller = resample(image, 0.5)
    assert smaller.shape == (30, 40, 3)
    np.testing.assert_allclose(smaller.mean((0, 1)), image.mean((0, 1)), atol=1.5)
    assert resample(image, 1.001) is image


def test_images_of_nearly_the_same_resolution_are_left_alone() -> None:
    pixels = noise(40, 60)
    assert at_mpp(pixels, mpp=0.5, wanted=0.25).shape == (80, 120, 3)
    assert at_mpp(pixels, mpp=0.252, wanted=0.25) is pixels
    assert at_mpp(pixels, mpp=None, wanted=0.25) is pixels


@pytest.mark.parametrize("dtype", [np.int32, np.uint8])
def test_labels_are_those_of_the_nearest_pixel(dtype: type[np.integer]) -> None:
    labels = np.arange(12, dtype=dtype).reshape(3, 4)
    larger = resize_labels(labels, (6, 8))
    assert larger.dtype == dtype
    np.testing.assert_array_equal(larger, labels.repeat(2, axis=0).repeat(2, axis=1))
    np.testing.assert_array_equal(resize_labels(resize_labels(labels, (9, 12)), (3, 4)), labels)
