"""The outline of one nucleus."""

import numpy as np
import pytest

from pipelines.nuclei.geojson import outline_of
from pipelines.nuclei.shape import shapes_of
from pipelines.nuclei.table import mask_columns


def test_of_a_nucleus_in_two_parts_the_larger_is_outlined() -> None:
    """Tables of before have some that hang together by a corner."""
    labels = np.zeros((20, 20), np.int32)
    labels[2:10, 2:10] = 1
    labels[10:12, 10:12] = 1
    columns = mask_columns(list(shapes_of(labels, left=0, top=0)))
    outline = outline_of({name: of[0] for name, of in columns.items()})
    assert outline.is_valid
    assert outline.bounds == pytest.approx((2, 2, 10, 10), abs=1)
