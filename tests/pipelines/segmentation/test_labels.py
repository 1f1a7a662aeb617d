"""Classes of a segmentation are told apart by colour."""

import numpy as np
from skimage.color import deltaE_ciede2000, rgb2lab

from pipelines.segmentation.labels import colour_of

LEAST_DIFFERENCE = 18  # CIEDE2000; the least of Okabe and Ito's colours and grey is 21


def test_sixteen_classes_have_colours_that_differ() -> None:
    lab = rgb2lab(np.array([colour_of(index) for index in range(16)]) / 255)
    differences = deltaE_ciede2000(lab[:, None], lab[None])
    assert differences[np.triu_indices(16, 1)].min() > LEAST_DIFFERENCE


def test_of_more_classes_only_the_background_is_grey() -> None:
    assert [colour_of(index) for index in (16, 17, 31)] == [colour_of(i) for i in (1, 2, 1)]
