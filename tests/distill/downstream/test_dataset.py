"""Labelled images say what is wrong with them, and their digest follows what they hold."""

import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from distill.downstream.dataset import ArrayImages, FileImages, LabelledImages, index_classes
from distill.errors import LabelledDataError

Make = Callable[..., LabelledImages]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sample_ids": ("s0",) * 48}, "'s0' occurs more than once"),
        ({"sample_ids": ("s0",)}, "48 images, but 1 sample_ids"),
        ({"patient_ids": ("p",)}, "48 images, but 1 patient_ids"),
        ({"classes": ("a", "b")}, r"targets \[0, 1, 2\] are not the 2 classes a, b"),
        ({"classes": ("a", "b", "c", "d")}, "are not the 4 classes"),
        ({"splits": ("train",) * 48}, r"splits are \['train'\], wanted train and test"),
        ({"images": ArrayImages(np.zeros((0, 2, 2, 3), np.uint8))}, "there is no image"),
    ],
)
def test_what_does_not_fit_is_refused(
    coloured: Make, change: dict[str, object], message: str
) -> None:
    with pytest.raises(LabelledDataError, match=message):
        replace(coloured(), **change)


def test_unknown_classes_are_named() -> None:
    with pytest.raises(LabelledDataError, match=r"t: classes \['x'\] are not among a, b"):
        index_classes(["a", "x"], ("a", "b"), task="t")


def test_digests_follow_pixels_and_labels(coloured: Make) -> None:
    one, same, other = coloured(), coloured(), coloured(seed=1)
    assert one.digest == same.digest != other.digest
    relabelled = replace(one, targets=one.targets[::-1].copy())
    assert relabelled.images_digest == one.images_digest
    assert relabelled.digest != one.digest


def test_without_patients_each_image_is_its_own(coloured: Make) -> None:
    nameless = replace(coloured(), patient_ids=None)
    assert nameless.owners.tolist() == list(nameless.sample_ids)
    assert nameless.astride == ()


def test_files_are_read_when_asked_for(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (2, 5, 7, 3), np.uint8)
    paths = tuple(tmp_path / f"{n}.png" for n in range(2))
    for path, image in zip(paths, pixels, strict=True):
        Image.fromarray(image).save(path)
    images = pickle.loads(pickle.dumps(FileImages(paths)))
    np.testing.assert_array_equal(images.read(1), pixels[1])
    before = images.digest()
    paths[1].write_bytes(b"no image")
    assert images.digest() != before
    with pytest.raises(LabelledDataError, match=r"1\.png does not open as an image"):
        images.read(1)


def test_an_image_too_large_for_pillow_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.new("1", (64, 64)).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(LabelledDataError, match=r"a\.png does not open as an image"):
        FileImages((tmp_path / "a.png",)).read(0)
