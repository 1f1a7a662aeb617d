"""Labelled images come as they were published, and what does not fit is named."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from distill.errors import LabelledDataError
from distill.segmentation.images import UNKNOWN, ClassImages
from distill.segmentation.read import read_class_images, read_unlabelled, write_split
from tests.distill.segmentation.made import CLASSES, draw, image_of, write_folder, write_glas


def test_a_folder_of_images_and_masks(tmp_path: Path) -> None:
    data = read_class_images(write_folder(tmp_path / "data", 4), mpp=0.5)
    assert data.classes == CLASSES
    assert [(i.name, i.case, i.mpp) for i in data.images] == [
        (str(n), f"p{n // 2}", 0.5) for n in range(4)
    ]
    pixels, glands = draw(2)
    np.testing.assert_array_equal(data.images[2].pixels, pixels)
    expected = (glands > 0).astype(np.int32)
    expected[0, 0] = UNKNOWN
    np.testing.assert_array_equal(data.images[2].classes, expected)


def test_glas_as_published(tmp_path: Path) -> None:
    data = read_class_images(write_glas(tmp_path / "glas", 4))
    assert data.classes == CLASSES
    assert data.licence == "research use only"
    first = data.images[0]
    assert (first.name, first.case, first.split) == ("train_0", "patient 0", "train")
    assert first.mpp == pytest.approx(0.62, abs=1e-3)
    np.testing.assert_array_equal(first.objects, draw(0)[1])
    assert [image.name for image in data.of_split("test").images] == ["testA_1", "testA_3"]
    with pytest.raises(LabelledDataError, match=r"'val'; splits are: \['test', 'train'\]"):
        data.of_split("val")


def test_classes_by_name_where_there_is_no_table(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "data", 1)
    (folder / "classes.csv").unlink()
    with pytest.raises(LabelledDataError, match=r"nothing says what the numbers.*--classes"):
        read_class_images(folder)
    with pytest.raises(LabelledDataError, match=r"values \[7\]; known are 0 bg, 1 gland, 255"):
        read_class_images(folder, classes=("bg", "gland"))
    names = ("bg", "a", "b", "c", "d", "e", "f", "gland")
    data = read_class_images(folder, classes=names)
    assert set(np.unique(data.images[0].classes)) == {UNKNOWN, 0, 7}


def test_a_class_called_unknown_is_not_one(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "data", 1)
    (folder / "classes.csv").write_text("value,name\n0,stroma\n3,fat\n7,Unknown\n")
    data = read_class_images(folder)
    assert data.classes == ("stroma", "fat")
    assert (data.images[0].classes == UNKNOWN).sum() == (draw(0)[1] > 0).sum() + 1


def test_what_does_not_fit_is_named(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "data", 2)
    with pytest.raises(LabelledDataError, match=r"--classes is for where it lacks"):
        read_class_images(folder, classes=("a", "b"))
    (folder / "cases.csv").write_text("name,case\n0,p0\n")
    with pytest.raises(LabelledDataError, match=r"cases.csv: no row, or no case: 1; one row for"):
        read_class_images(folder)
    (folder / "cases.csv").unlink()
    Image.new("L", (3, 3)).save(folder / "masks" / "0.png")
    with pytest.raises(LabelledDataError, match="same height and width"):
        read_class_images(folder)
    (folder / "masks" / "1.png").unlink()
    with pytest.raises(LabelledDataError, match="without a partner of the same stem: 1"):
        read_class_images(folder)
    with pytest.raises(LabelledDataError, match="no labelled images in a known layout"):
        read_class_images(tmp_path)
    with pytest.raises(LabelledDataError, match="holds no images to label"):
        read_unlabelled(tmp_path)
    with pytest.raises(LabelledDataError, match="two or more, each once"):
        ClassImages(classes=("a", "a"), images=[image_of(0)])


def test_images_without_labels_are_all_unknown(tmp_path: Path) -> None:
    (image, _) = read_unlabelled(write_folder(tmp_path / "d", 2) / "images", mpp=0.25)
    assert (image.classes == UNKNOWN).all()
    assert not image.complete


def test_images_without_labels_are_of_whom_the_table_says(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "d", 4)
    told = [("0", "p0"), ("1", "p0"), ("2", "p1"), ("3", "p1")]
    assert [(i.name, i.case) for i in read_unlabelled(folder)] == told
    assert [(i.name, i.case) for i in read_unlabelled(folder / "images")] == told
    (folder / "cases.csv").rename(folder / "images" / "cases.csv")
    assert [(i.name, i.case) for i in read_unlabelled(folder / "images")] == told
    (folder / "images" / "cases.csv").write_text("name,case\n0,p0\n")
    with pytest.raises(LabelledDataError, match=r"cases.csv: no row, or no case: 1, 2, 3"):
        read_unlabelled(folder / "images")


def test_glas_without_its_labels_keeps_its_patients(tmp_path: Path) -> None:
    folder = write_glas(tmp_path / "glas", 4)
    labelled, unlabelled = read_class_images(folder).images, read_unlabelled(folder, mpp=1.0)
    assert [(i.name, i.case, i.mpp) for i in unlabelled] == [
        (i.name, i.case, i.mpp) for i in labelled
    ]
    assert not any(image.complete for image in unlabelled)


def test_a_split_that_cannot_be_written_leaves_the_last_one(tmp_path: Path) -> None:
    path = tmp_path / "split.csv"
    write_split(path, [("a", "p0", "train")])
    before = path.read_text()
    assert before == "image,case,split\na,p0,train\n"

    def stopped() -> Iterator[tuple[str, str, str]]:
        yield ("b", "p1", "train")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_split(path, stopped())
    assert path.read_text() == before


def test_another_resolution_moves_pixels_and_labels_together() -> None:
    image = image_of(0, mpp=0.25)
    smaller = image.resampled(0.5)
    assert smaller.pixels.shape == (48, 64, 3)
    dark = smaller.pixels.mean(2) < 150
    assert (dark == (smaller.classes == 1)).mean() > 0.97
    np.testing.assert_array_equal(smaller.objects > 0, smaller.classes == 1)
    assert image.resampled(0.26) is image
