"""Labelled nuclei as they are published, on small files of the same layout, and on real ones."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image
from scipy.io import savemat

from distill.errors import LabelledDataError
from distill.teachers.cases import CASES_NAME
from distill.teachers.labelled import UNKNOWN, Labelled
from distill.teachers.layouts.folders import separate_singles
from distill.teachers.layouts.pannuke import merge_types
from distill.teachers.read import read_labelled

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (32, 40, 3), np.uint8)


def two_nuclei() -> NDArray[np.int32]:
    instances = np.zeros((32, 40), np.int32)
    instances[2:10, 3:12], instances[15:25, 20:30] = 1, 300
    return instances


def save(path: Path, array: NDArray[np.integer]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, lossless=True)


def only(images: list[Labelled]) -> Labelled:
    assert len(images) == 1
    assert images[0].pixels.dtype == np.uint8
    assert images[0].instances.dtype == np.int32
    return images[0]


@pytest.mark.parametrize("suffix", [".png", ".webp", ".tiff"])
def test_folders_of_images_and_instances(tmp_path: Path, suffix: str) -> None:
    save(tmp_path / "images" / f"TCGA-AB-1234-01Z{suffix}", PIXELS)
    save(tmp_path / "instances" / "TCGA-AB-1234-01Z.png", two_nuclei().astype(np.uint16))
    image = only(read_labelled(tmp_path))
    np.testing.assert_array_equal(image.pixels, PIXELS)
    np.testing.assert_array_equal(image.instances, two_nuclei())
    assert (image.name, image.case, image.mpp) == ("TCGA-AB-1234-01Z", "TCGA-AB-1234", None)
    assert image.complete
    assert only(read_labelled(tmp_path, mpp=0.3)).mpp == 0.3


def test_a_foreground_mask_stands_in_for_instances(tmp_path: Path) -> None:
    for name in ("a", "b"):
        save(tmp_path / "images" / f"{name}.png", PIXELS)
    save(tmp_path / "instances" / "a.png", two_nuclei().astype(np.uint16))
    foreground = two_nuclei() > 0
    foreground[5:20, 10:20] = True  # joins the two
    save(tmp_path / "foreground" / "b.png", (foreground * 255).astype(np.uint8))
    a, b = read_labelled(tmp_path)
    assert a.complete
    assert not b.complete
    np.testing.assert_array_equal(b.instances != 0, foreground)


def test_what_a_mac_leaves_beside_each_file_is_no_image(tmp_path: Path) -> None:
    folder_of(tmp_path / "pairs", "a")
    case = tmp_path / "dsb" / "one"
    save(case / "images" / "one.png", PIXELS)
    save(case / "masks" / "1.png", (two_nuclei() == 1).astype(np.uint8) * 255)
    for folder in ("pairs", "dsb"):
        for file in list((tmp_path / folder).rglob("*.png")):
            file.with_name(f"._{file.name}").write_bytes(b"\0\5\x16\7\0\2\0\0Mac OS X")
        assert only(read_labelled(tmp_path / folder)).instances.any()


def folder_of(folder: Path, *names: str, cases: str | None = None) -> Path:
    for name in names:
        save(folder / "images" / f"{name}.png", PIXELS)
        save(folder / "instances" / f"{name}.png", two_nuclei().astype(np.uint16))
    if cases is not None:
        (folder / CASES_NAME).write_text(f"name,case\n{cases}")
    return folder


def test_a_folder_says_whose_its_images_are(tmp_path: Path) -> None:
    """The table is believed, also of names that look like TCGA's."""
    folder = folder_of(
        tmp_path, "1", "2", "TCGA-21-5784-x", cases="1,ann\nTCGA-21-5784-x,ann\n2,bo"
    )
    assert [(image.name, image.case) for image in read_labelled(folder)] == [
        ("1", "ann"),
        ("2", "bo"),
        ("TCGA-21-5784-x", "ann"),
    ]


@pytest.mark.parametrize(
    ("cases", "message"),
    [
        ("1,ann\n1,bo\n2,bo", r"more than one row: 1;"),
        ("1,ann\n2,bo\n3,bo\n4,bo", r"no image: 3, 4;"),
        ("1,ann", r"no row, or no case: 2;"),
        ("1,ann\n2,", r"no row, or no case: 2;"),
        ("1,a\n1,a\n3,c", r"more than one row: 1; no image: 3; no row, or no case: 2; one row"),
    ],
)
def test_a_table_of_cases_that_leaves_doubt_is_refused(
    tmp_path: Path, cases: str, message: str
) -> None:
    with pytest.raises(LabelledDataError, match=rf"cases\.csv: {message}"):
        read_labelled(folder_of(tmp_path, "1", "2", cases=cases))


def test_a_single_nucleus_is_told_from_a_clump() -> None:
    y, x = np.mgrid[:60, :100]
    single = (y - 20) ** 2 + (x - 20) ** 2 < 100
    clump = ((y - 30) ** 2 + (x - 60) ** 2 < 100) | ((y - 30) ** 2 + (x - 79) ** 2 < 100)
    speck = (y > 55) & (x > 95)
    instances = separate_singles(single | clump | speck)
    assert (instances[single] == 1).all()
    assert (instances[clump | speck] == UNKNOWN).all()
    assert (instances[~(single | clump | speck)] == 0).all()


def test_an_image_without_labels_is_named(tmp_path: Path) -> None:
    save(tmp_path / "images" / "alone.png", PIXELS)
    (tmp_path / "instances").mkdir()
    with pytest.raises(LabelledDataError, match=r"1 of them without a file.*alone"):
        read_labelled(tmp_path)


def test_labels_of_another_size_are_refused(tmp_path: Path) -> None:
    save(tmp_path / "images" / "a.png", PIXELS)
    save(tmp_path / "instances" / "a.png", two_nuclei()[1:].astype(np.uint16))
    with pytest.raises(LabelledDataError, match=r"a: the image is \(32, 40, 3\).*\(31, 40\)"):
        read_labelled(tmp_path)


def test_a_file_that_is_no_image_is_named(tmp_path: Path) -> None:
    save(tmp_path / "instances" / "a.png", two_nuclei().astype(np.uint16))
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.png").write_text("not an image")
    with pytest.raises(LabelledDataError, match=r"a\.png cannot be read"):
        read_labelled(tmp_path)


ANNOTATION = """<Annotations MicronsPerPixel="0.252000"><Annotation><Regions>
<Region Id="1"><Vertices><Vertex X="4" Y="2" Z="0"/><Vertex X="14" Y="2" Z="0"/>
<Vertex X="14" Y="8" Z="0"/><Vertex X="4" Y="8" Z="0"/></Vertices></Region>
<Region Id="2"><Vertices><Vertex X="30.5" Y="20" Z="0"/><Vertex X="60" Y="20" Z="0"/>
<Vertex X="60" Y="28" Z="0"/></Vertices></Region>
<Region Id="3"><Vertices><Vertex X="1" Y="1" Z="0"/></Vertices></Region>
</Regions></Annotation></Annotations>"""


@pytest.mark.parametrize("folders", [("", ""), ("Tissue Images", "Annotations")])
def test_monuseg_as_published(tmp_path: Path, folders: tuple[str, str]) -> None:
    for folder in folders:
        (tmp_path / folder).mkdir(exist_ok=True)
    name = "TCGA-18-5592-01Z-00-DX1"
    tifffile.imwrite(tmp_path / folders[0] / f"{name}.tif", PIXELS)
    (tmp_path / folders[1] / f"{name}.xml").write_text(ANNOTATION)
    image = only(read_labelled(tmp_path))
    np.testing.assert_array_equal(image.pixels, PIXELS)
    assert (image.case, image.mpp) == ("TCGA-18-5592", 0.252)
    assert image.instances[5, 9] == 1  # x runs right, y down
    assert image.instances[9, 5] == 0
    assert image.instances[21, 39] == 2  # the polygon leaves the image
    assert (image.instances == 1).sum() == pytest.approx(10 * 6, abs=17)
    assert set(np.unique(image.instances)) == {0, 1, 2}


def test_a_broken_annotation_is_named(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", PIXELS)
    (tmp_path / "a.xml").write_text("<Annotations>")
    with pytest.raises(LabelledDataError, match=r"a\.xml is not an Aperio annotation"):
        read_labelled(tmp_path)


@pytest.mark.parametrize("below", ["", "stage1_train"])
def test_dsb_as_published(tmp_path: Path, below: str) -> None:
    case = tmp_path / below / "c0ffee"
    alpha = np.full((32, 40, 1), 255, np.uint8)
    save(case / "images" / "c0ffee.png", np.concatenate([PIXELS, alpha], axis=2))
    for number in (1, 300):
        save(case / "masks" / f"{number}.png", ((two_nuclei() == number) * 255).astype(np.uint8))
    image = only(read_labelled(tmp_path))
    np.testing.assert_array_equal(image.pixels, PIXELS)
    np.testing.assert_array_equal(image.instances == 1, two_nuclei() == 1)
    np.testing.assert_array_equal(image.instances == 2, two_nuclei() == 300)


def test_pannuke_folds(tmp_path: Path) -> None:
    masks = np.zeros((2, 32, 32, 6))
    masks[0, 2:10, 2:10, 0] = 1
    masks[0, 20:30, 20:30, 3] = 1  # the same number in another type's plane
    masks[1, 5:9, 5:9, 4] = 7
    images = RNG.integers(0, 256, (2, 32, 32, 3)).astype(np.float64)
    for kind, array in (("images", images), ("masks", masks)):
        (tmp_path / kind / "fold1").mkdir(parents=True)
        np.save(tmp_path / kind / "fold1" / f"{kind}.npy", array)
    first, second = read_labelled(tmp_path)
    np.testing.assert_array_equal(first.pixels, images[0])
    assert (first.instances[5, 5], first.instances[25, 25]) == (1, 2)
    assert (second.instances > 0).sum() == 16
    assert (first.mpp, first.name) == (0.25, "images-fold1-0")
    assert first.case != second.case


def test_types_keep_their_nuclei_apart() -> None:
    planes = np.zeros((4, 4, 2), np.int64)
    planes[:2, :2, 0], planes[:2, 2:, 0], planes[2:, :, 1] = 3, 5, 3
    assert len(np.unique(merge_types(planes))) == 3


def test_consep(tmp_path: Path) -> None:
    save(tmp_path / "Train" / "Images" / "train_1.png", PIXELS)
    (tmp_path / "Train" / "Labels").mkdir()
    path = tmp_path / "Train" / "Labels" / "train_1.mat"
    savemat(path, {"inst_map": two_nuclei().astype(np.float64)})
    image = only(read_labelled(tmp_path))
    np.testing.assert_array_equal(image.instances, two_nuclei())
    savemat(path, {"other": 1})
    with pytest.raises(LabelledDataError, match=r"train_1\.mat has no instance map"):
        read_labelled(tmp_path)


def test_a_folder_of_something_else_lists_what_is_known(tmp_path: Path) -> None:
    with pytest.raises(LabelledDataError, match=r"MoNuSeg.*DSB 2018"):
        read_labelled(tmp_path)


def test_the_real_sets_are_read_whole(shared_data: Path) -> None:
    dsb = read_labelled(shared_data / "dsb2018_he")
    assert len(dsb) == 60
    assert all(image.complete for image in dsb)
    monuseg = read_labelled(shared_data / "monuseg")
    complete = [image for image in monuseg if image.complete]
    assert (len(monuseg), len(complete)) == (30, 13)
    assert sum(len(np.unique(image.instances)) - 1 for image in complete) == 4949
    assert len({image.case for image in monuseg}) == 30
    for image in monuseg:
        assert image.pixels.shape == (1000, 1000, 3)


@pytest.mark.parametrize(
    "broken", ["images/a.png", "images/a.tiff", "images/a.webp", "instances/a.png"]
)
def test_a_file_that_broke_off_is_named(tmp_path: Path, broken: str) -> None:
    """Its head is whole: opening it says nothing, decoding it does."""
    noise = RNG.integers(0, 256, (256, 256, 3), np.uint8)
    path = tmp_path / broken
    save(tmp_path / "images" / f"a{path.suffix}", noise)
    save(tmp_path / "instances" / "a.png", noise[..., 0])
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(LabelledDataError, match=f"{broken} cannot be read as an image"):
        read_labelled(tmp_path)
