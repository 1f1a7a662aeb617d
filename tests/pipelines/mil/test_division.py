"""Patients stay on one side of every fold, and a leak is refused whatever it is called."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill.errors import LabelledDataError
from pipelines.errors import SplitError
from pipelines.mil.division import Division, audit, divide_as_given, divide_by_patient
from pipelines.mil.labels import Labelled


def cohort(patients: int = 20, *, slides: int = 2, classes: str = "ab") -> list[Labelled]:
    return [
        Labelled(slide_id=f"s{p}-{n}", patient_id=f"p{p}", target=classes[p % len(classes)])
        for p in range(patients)
        for n in range(slides)
    ]


def digests(slides: Sequence[Labelled]) -> dict[str, str]:
    return {slide.slide_id: f"content of {slide.slide_id}" for slide in slides}


@given(
    patients=st.integers(16, 40),
    slides=st.integers(1, 3),
    count=st.integers(2, 5),
    seed=st.integers(0, 99),
    classes=st.sampled_from(["ab", "abc", "aab"]),
)
def test_every_slide_is_tested_once_and_patients_are_whole(
    patients: int, slides: int, count: int, seed: int, classes: str
) -> None:
    rows = cohort(patients, slides=slides, classes=classes)
    divisions = divide_by_patient(rows, count=count, seed=seed)
    assert [division.fold for division in divisions] == list(range(count))
    tested = np.array([[side == "test" for side in division.sides] for division in divisions])
    assert (tested.sum(axis=0) == 1).all()
    audit(rows, divisions, digests(rows))
    for division in divisions:
        for side in ("train", "tune"):
            found = {row.target for row, s in zip(rows, division.sides, strict=True) if s == side}
            assert len(found) >= 2
        owners = {side: set[str]() for side in ("train", "tune", "test")}
        for row, side in zip(rows, division.sides, strict=True):
            owners[side].add(row.patient_id)
        assert sum(map(len, owners.values())) == patients


def test_the_seed_decides() -> None:
    rows = cohort()
    one, same, other = (divide_by_patient(rows, count=4, seed=seed) for seed in (1, 1, 2))
    assert one == same
    assert one != other


def test_classes_are_in_proportion() -> None:
    rows = cohort(40, slides=1, classes="aaab")
    for division in divide_by_patient(rows, count=5, seed=0):
        tested = [row.target for row, s in zip(rows, division.sides, strict=True) if s == "test"]
        assert (tested.count("a"), tested.count("b")) == (6, 2)


def test_the_given_split_is_kept_and_val_is_tune() -> None:
    words = ("train", "val", "test", "tune", "validation")
    rows = [replace(row, split=words[n // 2 % 5]) for n, row in enumerate(cohort(10, slides=2))]
    sides = {"val": "tune", "validation": "tune"}
    assert divide_as_given(rows, seed=0).sides == tuple(
        sides.get(row.split or "", row.split) for row in rows
    )


def test_without_tuning_slides_some_training_patients_tune() -> None:
    rows = [
        replace(row, split="test" if n >= 24 else "train")
        for n, row in enumerate(cohort(16, slides=2))
    ]
    division = divide_as_given(rows, seed=0)
    assert division.sides[24:] == ("test",) * 8
    assert set(division.sides[:24]) == {"train", "tune"}
    audit(rows, [division], digests(rows))


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["train", "test", "dev"], r"splits \['dev'\] are not among train, tune, val"),
        (["train", "test", ""], r"splits \[''\] are not among"),
        (["train", "tune", "train"], r"no slide in 'test'"),
        (["tune", "tune", "test"], r"no slide in 'train'"),
        (["train", "train", "test"], r"fold 0: 2 slides are too few"),
    ],
)
def test_a_given_split_that_cannot_be_used_is_refused(words: list[str], complaint: str) -> None:
    rows = [replace(r, split=w) for r, w in zip(cohort(3, slides=1), words, strict=True)]
    with pytest.raises(SplitError, match=complaint):
        divide_as_given(rows, seed=0)


def test_more_folds_than_patients_are_refused() -> None:
    with pytest.raises(LabelledDataError, match="labels: 4 patients cannot be divided into 5"):
        divide_by_patient(cohort(4), count=5, seed=0)


def test_a_patient_on_two_sides_is_refused_by_name() -> None:
    rows = cohort(3, slides=2)
    sides = ("train", "test", "tune", "tune", "test", "tune")
    with pytest.raises(SplitError) as caught:
        audit(rows, [Division(fold=0, sides=sides)], digests(rows))
    assert "patient 'p0' is in test, train" in str(caught.value)
    assert "patient 'p2' is in test, tune" in str(caught.value)
    assert "p1" not in str(caught.value)


@pytest.mark.parametrize("other", ["p\u0301 A", "\u1e55 a", "\u1e55\u200b A", "\u1e55\u00a0A"])
def test_one_patient_in_two_spellings_is_refused_by_both(other: str) -> None:
    rows = [
        replace(r, patient_id=p)
        for r, p in zip(cohort(2, slides=1), ("\u1e55 A", other), strict=True)
    ]
    with pytest.raises(SplitError) as caught:
        audit(rows, [Division(fold=0, sides=("train", "test"))], digests(rows))
    assert f"patient '\\u1e55 A' (also written {other!a}) is in test, train" in str(caught.value)


def test_one_slide_under_two_names_is_refused() -> None:
    rows = cohort(4, slides=1)
    contents = digests(rows) | {"s3-0": "content of s0-0"}
    astride = Division(fold=0, sides=("train", "train", "tune", "test"))
    with pytest.raises(
        SplitError, match=r"slides s0-0, s3-0 have the same embeddings .*patient_id"
    ):
        audit(rows, [astride], contents)
    audit(rows, [Division(fold=0, sides=("train", "tune", "test", "train"))], contents)


def test_one_scan_embedded_in_two_ways_is_refused() -> None:
    rows = cohort(4, slides=1)
    astride = Division(fold=0, sides=("train", "train", "tune", "test"))
    scans = {"s0-0": "a scan", "s3-0": "a scan", "s1-0": "", "s2-0": ""}  # "" where not told
    with pytest.raises(SplitError, match=r"slides s0-0, s3-0 have the same content and are in"):
        audit(rows, [astride], digests(rows), scans)
    audit(rows, [astride], digests(rows), dict.fromkeys(scans, ""))


def test_a_leak_is_named_once_however_many_folds_have_it() -> None:
    rows = cohort(2, slides=2)
    sides = ("train", "test", "train", "train")
    with pytest.raises(SplitError) as caught:
        audit(rows, [Division(fold=f, sides=sides) for f in range(5)], digests(rows))
    assert str(caught.value).count("p0") == 1
