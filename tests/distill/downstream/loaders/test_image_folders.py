"""Sets published as folders of images, made small in the same layout."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from distill.downstream.dataset import LabelledImages
from distill.downstream.loaders import bach, breakhis, glas, lymphoma, nct_crc
from distill.downstream.splits import folds
from distill.errors import LabelledDataError

BACH_LETTERS = ("n", "b", "is", "iv")


def save(path: Path, shade: int = 0, size: tuple[int, int] = (12, 9)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (shade % 256, 80, 120)).save(path)


def make_bach(root: Path) -> None:
    lines = []
    for number, (name, letters) in enumerate(zip(bach.CLASSES, BACH_LETTERS, strict=True)):
        for image in range(3):
            stem = f"{letters}{image:03d}"
            save(root / "Photos" / name / f"{stem}.tif", shade=number * 10 + image)
            # The publisher lists only part of the patients.
            lines.append(f"{stem}.tif,{name},{number // 2 if image < 2 else ''}")
    (root / bach.PATIENTS).write_text("\n".join(lines) + "\n")


def make_nct(root: Path) -> None:
    for folder, count in (("NCT-CRC-HE-100K", 2), ("CRC-VAL-HE-7K", 1)):
        for name in nct_crc.CLASSES:
            for number in range(count):
                save(root / folder / name / f"{name}-AAAA{number}.tif", shade=number)


def make_breakhis(root: Path) -> None:
    breast = root / "BreaKHis_v1" / "histology_slides" / "breast"
    for side, kind, letters, slide in (
        ("benign", "adenosis", "B_A", "14-22549AB"),
        ("malignant", "ductal_carcinoma", "M_DC", "14-10926"),
    ):
        for power in (40, 100):
            for number in range(2):
                save(
                    breast
                    / side
                    / "SOB"
                    / kind
                    / f"SOB_{letters}_{slide}"
                    / f"{power}X"
                    / f"SOB_{letters}-{slide}-{power}-{number:03d}.png"
                )


def make_lymphoma(root: Path) -> None:
    for name in lymphoma.CLASSES:
        for number in range(2):
            save(root / name / f"sj-05-{number}.tif")


def make_glas(root: Path) -> None:
    rows = ["name,patient ID, grade (GlaS), grade (Sirinukunwattana et al. 2015)"]
    for number in range(1, 7):
        for side in ("train", "testA"):
            stem = f"{side}_{number}"
            save(root / f"{stem}.bmp", shade=number)
            Image.fromarray(np.full((9, 12), number, np.uint8)).save(root / f"{stem}_anno.bmp")
            grade = " benign" if number % 2 else " malignant"
            rows.append(f"{stem},{number},{grade}, adenomatous")
    (root / "Grade.csv").write_text("\n".join(rows) + "\n")


CASES: list[tuple[Callable[[Path], None], Callable[[Path], LabelledImages], int, float]] = [
    (make_bach, bach.load_bach, 12, 0.42),
    (make_nct, nct_crc.load_nct_crc, 27, 0.5),
    (make_breakhis, breakhis.load_breakhis, 4, 0.49),
    (make_lymphoma, lymphoma.load_lymphoma, 6, 0.32),
    (make_glas, glas.load_glas, 12, 0.62005),
]


@pytest.mark.parametrize(("make", "load", "count", "mpp"), CASES)
def test_a_layout_is_read(
    make: Callable[[Path], None],
    load: Callable[[Path], LabelledImages],
    count: int,
    mpp: float,
    tmp_path: Path,
) -> None:
    make(tmp_path)
    dataset = load(tmp_path)
    assert len(dataset) == count
    assert dataset.mpp == mpp
    assert dataset.images.read(0).shape == (9, 12, 3)
    assert dataset.licence
    assert load(tmp_path).digest == dataset.digest


@pytest.mark.parametrize(("make", "load", "count", "mpp"), CASES)
def test_an_empty_folder_says_what_was_wanted(
    make: object, load: Callable[[Path], LabelledImages], count: int, mpp: float, tmp_path: Path
) -> None:
    with pytest.raises(LabelledDataError, match=r"wanted|is in"):
        load(tmp_path)


def test_bach_images_without_a_patient_are_patients_of_their_own(tmp_path: Path) -> None:
    make_bach(tmp_path)
    dataset = bach.load_bach(tmp_path)
    assert dataset.patient_ids is not None
    assert dataset.patient_ids[:3] == ("0", "0", "unlisted-n002")
    assert len(set(dataset.patient_ids)) == 2 + 4
    (tmp_path / bach.PATIENTS).write_text("zz1.tif,Normal,1\n")
    with pytest.raises(LabelledDataError, match="zz1"):
        bach.load_bach(tmp_path)


def test_nct_crc_keeps_the_published_split_and_prefers_what_is_not_normalised(
    tmp_path: Path,
) -> None:
    make_nct(tmp_path)
    (fold,) = folds(nct_crc.load_nct_crc(tmp_path), seed=0)
    assert (len(fold.train), len(fold.test)) == (18, 9)
    for name in nct_crc.CLASSES:
        save(tmp_path / "NCT-CRC-HE-100K-NONORM" / name / "x.tif")
    assert len(nct_crc.load_nct_crc(tmp_path)) == 18
    (tmp_path / "CRC-VAL-HE-7K" / "TUM" / "TUM-AAAA0.tif").unlink()
    with pytest.raises(LabelledDataError, match="TUM holds no image"):
        nct_crc.load_nct_crc(tmp_path)


def test_breakhis_reads_one_magnification_and_the_slide_from_the_name(tmp_path: Path) -> None:
    make_breakhis(tmp_path)
    dataset = breakhis.load_breakhis(tmp_path, "100X")
    assert dataset.name == "breakhis-100X"
    assert dataset.mpp == 0.2
    assert dataset.patient_ids == ("14-22549AB",) * 2 + ("14-10926",) * 2
    assert [dataset.classes[t] for t in dataset.targets] == ["benign"] * 2 + ["malignant"] * 2
    with pytest.raises(LabelledDataError, match=r"no image at .*400X"):
        breakhis.load_breakhis(tmp_path, "400X")
    save(next(tmp_path.rglob("100X")) / "oops.png")
    with pytest.raises(LabelledDataError, match=r"oops\.png.*are not named"):
        breakhis.load_breakhis(tmp_path, "100X")


def test_glas_as_published_has_masks_and_patients_on_both_sides(tmp_path: Path) -> None:
    make_glas(tmp_path)
    dataset = glas.load_glas(tmp_path)
    assert dataset.splits == ("train", "test") * 6
    assert len(dataset.astride) == 6
    assert len(folds(dataset, seed=0, count=3)) == 3
    mask = glas.read_glands(tmp_path, "train_4")
    np.testing.assert_array_equal(mask, np.full((9, 12), 4))
    with pytest.raises(LabelledDataError, match=r"train_9_anno\.bmp is not there"):
        glas.read_glands(tmp_path, "train_9")
    glands = glas.load_glands(tmp_path)
    assert glands.classes == ("between glands", "gland")
    assert [image.name for image in glands.images] == list(dataset.sample_ids)
    assert {image.case for image in glands.images} == set("123456")
    assert (glands.images[0].regions == 1).all()
    (tmp_path / "testA_3.bmp").unlink()
    with pytest.raises(LabelledDataError, match=r"\['testA_3'\] are in only one"):
        glas.load_glas(tmp_path)


def test_a_table_without_its_columns_is_refused(tmp_path: Path) -> None:
    make_glas(tmp_path)
    (tmp_path / "Grade.csv").write_text("name,grade\ntrain_1,benign\n")
    with pytest.raises(
        LabelledDataError, match=r"lacks columns \['patient ID', 'grade \(GlaS\)'\]"
    ):
        glas.load_glas(tmp_path)


def test_the_sample_of_crc_val_has_classes_in_its_names(tmp_path: Path) -> None:
    save(tmp_path / "TUM___TUM-A.jpg")
    save(tmp_path / "ADI___ADI-B.jpg")
    dataset = nct_crc.load_crc_val_sample(tmp_path)
    assert dataset.classes == ("ADI", "TUM")
    assert dataset.targets.tolist() == [0, 1]
    assert dataset.patient_ids is None
    save(tmp_path / "TUM-A.jpg")
    with pytest.raises(LabelledDataError, match=r"TUM-A\.jpg"):
        nct_crc.load_crc_val_sample(tmp_path)


def test_the_real_sets(shared_data: Path) -> None:
    tissue = nct_crc.load_crc_val_sample(shared_data / "crc_val_sample")
    assert len(tissue) == 70
    assert np.bincount(tissue.targets).tolist() == [10] * 7
    assert tissue.images.read(3).shape == (224, 224, 3)
    glands = glas.load_glas(shared_data / "glas")
    assert np.bincount(glands.targets).tolist() == [37, 48]
    assert len(set(glands.owners)) == 15
    assert glands.splits is None
