"""However a slide is cut into blocks, the same nuclei come out, each once."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray
from PIL import Image

from distill.teachers.postprocess import separate
from distill.teachers.predict import predict_maps
from distill.teachers.teacher import Teacher
from pipelines.nuclei.block import FoundNuclei
from pipelines.nuclei.merge import merge_blocks
from pipelines.nuclei.table import mask_of
from tests.pipelines.nuclei.blobs import Joined, draw_blobs, everywhere, search
from wsi.slide import Pixels, Slide


def paint(joined: Joined) -> NDArray[np.int32]:
    """The nuclei as labels (H, W), counted from 1; none lies on another."""
    labels = np.zeros(joined.frame.shape, np.int32)
    for number, row in enumerate(joined.rows, start=1):
        mask = mask_of(row)
        part = labels[row["top"] :, row["left"] :][: mask.shape[0], : mask.shape[1]]
        assert not part[mask].any()
        part[mask] = number
    return labels


def agreement(one: NDArray[np.int32], other: NDArray[np.int32]) -> NDArray[np.float64]:
    """The intersection over union of each nucleus of `one` with what it meets most in `other`."""
    found = []
    for label in range(1, one.max() + 1):
        mask = one == label
        met = np.bincount(other[mask], minlength=2)
        met[0] = 0
        best = int(met.argmax())
        found.append(met[best] / np.count_nonzero(mask | (other == best)) if best else 0.0)
    return np.array(found)


@pytest.mark.parametrize("core_px", [160, 224])
def test_blocks_give_what_the_whole_gives(
    core_px: int, blob_teacher: Teacher, array_slide: Callable[[Pixels], Slide]
) -> None:
    blobs = draw_blobs(610, 430)
    slide = array_slide(blobs.pixels)
    cut = search(slide, blob_teacher, core_px)
    assert len(cut.found) > 5
    whole = separate(predict_maps(blob_teacher.net, blobs.pixels), blob_teacher.thresholds)
    labels = paint(cut)
    assert len(cut.rows) == np.unique(whole).size - 1
    np.testing.assert_array_equal(labels > 0, whole > 0)
    pairs = np.unique(np.stack([labels.ravel(), whole.ravel()]), axis=1)
    assert pairs.shape[1] == len(cut.rows) + 1  # each nucleus is one of the whole, and all of it
    shared = sum(int(np.sum(found.table["shared"].to_numpy())) for found in cut.found.values())
    assert shared > 50  # many lie at borders


def test_nearly_every_drawn_nucleus_is_found_where_it_was_drawn(
    blob_teacher: Teacher, array_slide: Callable[[Pixels], Slide]
) -> None:
    blobs = draw_blobs(610, 430)
    joined = search(array_slide(blobs.pixels), blob_teacher, 160)
    at = np.array([[row["x"], row["y"]] for row in joined.rows])
    distance = np.linalg.norm(blobs.centres[:, None] - at[None], axis=2)
    assert (distance.min(axis=1) < 2).mean() > 0.9
    assert np.linalg.norm(np.median((blobs.centres - at[distance.argmin(axis=1)]), axis=0)) < 0.1


def test_real_tissue_is_the_same_in_blocks(
    shared_data: Path, blob_teacher: Teacher, array_slide: Callable[[Pixels], Slide]
) -> None:
    """Two images side by side; blocks end in the middle of both, and at neither's border."""
    paths = sorted((shared_data / "monuseg" / "images").iterdir())[:2]
    parts = [np.asarray(Image.open(path).convert("RGB"))[200:600, 200:560] for path in paths]
    pixels = np.concatenate(parts, axis=1)
    slide = array_slide(pixels)
    cut, whole = search(slide, blob_teacher, 192), search(slide, blob_teacher, 1600)
    assert len(whole.found) == 1
    assert len(whole.rows) > 50
    same = agreement(paint(whole), paint(cut))
    assert abs(len(cut.rows) - len(whole.rows)) <= 0.01 * len(whole.rows)
    assert (same > 0.95).mean() >= 0.99


def test_a_nucleus_that_both_neighbours_place_in_the_other_still_counts(
    blob_teacher: Teacher, array_slide: Callable[[Pixels], Slide]
) -> None:
    """Maps of two blocks differ a little; the centre may come to lie outside both."""
    slide = array_slide(draw_blobs(330, 140).pixels)
    joined = search(slide, blob_teacher, 160)
    expected = len(joined.rows)
    unsure: dict[Any, FoundNuclei] = {}
    for block, found in joined.found.items():
        nobody = pa.array(found.table["inside"].to_numpy() & ~found.table["shared"].to_numpy())
        index = found.table.schema.get_field_index("inside")
        unsure[block] = FoundNuclei(
            table=found.table.set_column(index, "inside", nobody), unreadable=()
        )
    tables = merge_blocks(joined.frame, list(unsure), unsure.__getitem__, everywhere(slide))
    assert sum(table.num_rows for _, table in tables) == expected
