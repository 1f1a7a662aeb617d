"""Labelled nuclei, made small and as they are."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from distill.downstream.loaders.nuclei import load_nuclei
from distill.errors import LabelledDataError


def test_images_with_labels_are_read(tmp_path: Path) -> None:
    for folder in ("images", "instances"):
        (tmp_path / folder).mkdir()
    labels = np.array([[0, 300], [300, 2]], np.uint16)
    for name in ("TCGA-AB-1234-01Z-x", "TCGA-AB-1234-02Z-y", "other"):
        Image.new("RGB", (2, 2)).save(tmp_path / "images" / f"{name}.png")
        Image.fromarray(labels).save(tmp_path / "instances" / f"{name}.png")
    Image.new("RGB", (2, 2)).save(tmp_path / "images" / "unlabelled.png")
    found = load_nuclei(tmp_path, task="t", mpp=0.25)
    assert [image.case_id for image in found] == ["TCGA-AB-1234", "TCGA-AB-1234", "other"]
    np.testing.assert_array_equal(found[0].instances, labels)
    Image.new("RGB", (3, 2)).save(tmp_path / "images" / "other.png")
    with pytest.raises(LabelledDataError, match=r"shape \(2, 2\), its image \(2, 3\)"):
        load_nuclei(tmp_path, task="t", mpp=0.25)
    (tmp_path / "images" / "other.png").unlink()
    with pytest.raises(LabelledDataError, match="has no image"):
        load_nuclei(tmp_path, task="t", mpp=0.25)


def test_monuseg_as_it_is(shared_data: Path) -> None:
    images = load_nuclei(shared_data / "monuseg", task="monuseg", mpp=0.25)
    assert len(images) == 13
    assert sum(len(np.unique(image.instances)) - 1 for image in images) == 4949
