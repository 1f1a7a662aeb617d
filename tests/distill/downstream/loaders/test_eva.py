"""eva's division of BACH and BreakHis, on sets with the published names and made pictures."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.pretraining.run import choose_tasks
from distill.downstream.loaders import bach
from distill.downstream.loaders.eva import (
    BREAKHIS_TEST,
    BREAKHIS_TYPES,
    load_bach_eva,
    load_breakhis_eva,
)
from distill.downstream.splits import folds
from distill.errors import LabelledDataError

LETTERS = dict(zip(bach.CLASSES, ("n", "b", "is", "iv"), strict=True))


def make_bach(root: Path) -> None:
    """All 400 names; the first 29 numbers stand for as many patients of four images each."""
    (root / bach.PATIENTS).parent.mkdir(parents=True, exist_ok=True)
    lines = []
    for name, letters in LETTERS.items():
        folder = root / "Photos" / name
        folder.mkdir(parents=True)
        for number in range(1, 101):
            Image.new("RGB", (4, 4)).save(folder / f"{letters}{number:03d}.tif")
            lines.append(f"{letters}{number:03d}.tif,{name},{number if number < 30 else ''}")
    (root / bach.PATIENTS).write_text("\n".join(lines) + "\n")


def make_breakhis(root: Path, slides: dict[str, str]) -> None:
    for slide, letters in slides.items():
        kind = (
            root / "BreaKHis_v1/histology_slides/breast" / ("benign", "malignant")["M" in letters]
        )
        folder = kind / "SOB" / "type" / f"SOB_{letters}_{slide}" / "40X"
        folder.mkdir(parents=True)
        for number in range(2):
            Image.new("RGB", (4, 4)).save(folder / f"SOB_{letters}-{slide}-40-{number:03d}.png")


def test_bach_has_as_many_images_on_each_side_as_published(tmp_path: Path) -> None:
    make_bach(tmp_path)
    dataset = load_bach_eva(tmp_path)
    (fold,) = folds(dataset, seed=3)
    assert (len(fold.train), len(fold.test)) == (268, 132)
    of_class = np.bincount(dataset.targets[fold.test])
    assert dict(zip(dataset.classes, of_class.tolist(), strict=True)) == {
        "Normal": 23,
        "Benign": 48,
        "InSitu": 30,
        "Invasive": 31,
    }
    # The ends of the published ranges, which count from nought over all classes in turn.
    tested = {dataset.sample_ids[index] for index in fold.test}
    assert {"b042", "b059", "b061", "b090", "is040", "is069"} <= tested
    assert {"iv041", "iv058", "iv061", "iv073", "n046", "n068"} <= tested
    learnt = {dataset.sample_ids[index] for index in fold.train}
    assert {"b041", "b060", "b091", "is039", "is070", "iv040", "iv059", "n045", "n069"} <= learnt


def test_a_patient_on_both_sides_is_refused(tmp_path: Path) -> None:
    make_bach(tmp_path)
    (tmp_path / bach.PATIENTS).write_text("b041.tif,Benign,7\nb042.tif,Benign,7\n")
    with pytest.raises(LabelledDataError, match="patients 7 are on both sides"):
        load_bach_eva(tmp_path)


def test_breakhis_has_four_types_and_the_published_slides(tmp_path: Path) -> None:
    make_breakhis(
        tmp_path,
        {
            "14-16184CD": "B_TA",
            "14-4659": "B_TA",
            "14-21998EF": "B_F",
            "14-14134": "B_F",
            "14-5287": "M_DC",
            "14-10926": "M_DC",
            "14-18842D": "M_MC",
            "14-13418DE": "M_MC",
            "14-22549AB": "B_A",
        },
    )
    dataset = load_breakhis_eva(tmp_path)
    assert dataset.classes == tuple(BREAKHIS_TYPES.values())
    (fold,) = folds(dataset, seed=0)
    tested = {dataset.sample_ids[index].split("-")[2] for index in fold.test}
    assert tested == {"16184CD", "21998EF", "5287", "18842D"}
    assert tested < set(BREAKHIS_TEST)
    assert len(fold.test) == len(fold.train) == 8


def test_a_part_of_a_set_is_not_taken_for_the_whole(tmp_path: Path) -> None:
    make_breakhis(tmp_path, {"14-1": "B_TA", "14-2": "B_F", "14-3": "M_DC", "14-4": "M_MC"})
    with pytest.raises(LabelledDataError, match="8 are to learn from and 0 to be tested"):
        load_breakhis_eva(tmp_path)


def test_only_a_whole_set_is_taken_unasked(tmp_path: Path) -> None:
    make_breakhis(tmp_path / "breakhis", {"14-1": "B_TA", "14-2": "M_DC"})
    make_bach(tmp_path / "bach")
    whole = tmp_path / "bach/Photos/Invasive/iv100.tif"
    assert choose_tasks(tmp_path, None)[:2] == ("bach", "bach-eva")
    assert "breakhis-eva" not in choose_tasks(tmp_path, None)
    whole.unlink()
    assert "bach-eva" not in choose_tasks(tmp_path, None)
    make_breakhis(tmp_path / "breakhis", {"14-19979": "M_DC"})
    assert "breakhis-eva" in choose_tasks(tmp_path, None)
