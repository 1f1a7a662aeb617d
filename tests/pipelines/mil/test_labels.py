"""The table of labels: what is in it comes back, and what is wrong in it is named."""

from pathlib import Path

import pytest

from pipelines.errors import ManifestError
from pipelines.mil.labels import Labelled, read_labels


def write(folder: Path, text: str) -> Path:
    (folder / "labels.csv").write_text(text, encoding="utf-8")
    return folder / "labels.csv"


def test_everything_is_text_and_other_columns_are_carried(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "slide_id,patient_id,label,split,site,age\n007, p1 ,1,train,A,44\n008,p2,0,test,,\n",
    )
    labels = read_labels(path)
    assert labels.patient_column == "patient_id"
    assert labels.has_split
    assert labels.rows == (
        Labelled(
            slide_id="007",
            patient_id="p1",
            target="1",
            split="train",
            carried={"site": "A", "age": "44"},
        ),
        Labelled(
            slide_id="008",
            patient_id="p2",
            target="0",
            split="test",
            carried={"site": "", "age": ""},
        ),
    )


def test_without_patients_a_slide_is_its_own(tmp_path: Path) -> None:
    labels = read_labels(write(tmp_path, 'slide_id,label\na,"NA"\n'))
    assert labels.patient_column is None
    assert not labels.has_split
    assert labels.rows == (Labelled(slide_id="a", patient_id="a", target="NA"),)


@pytest.mark.parametrize(
    ("header", "patient_column"),
    [
        ("slide_id,label,case_id", "case_id"),  # CLAM
        ("FILENAME,label,PATIENT", "PATIENT"),  # STAMP
        ("SLIDE,Label,Patient ID", "Patient ID"),
        ("slide_id,label,case", "case"),
    ],
)
def test_patients_and_slides_are_known_by_the_names_others_give_them(
    tmp_path: Path, header: str, patient_column: str
) -> None:
    labels = read_labels(write(tmp_path, f"{header}\na.h5,x,p\nb.h5,y,p\n"))
    assert labels.patient_column == patient_column
    assert labels.rows == (
        Labelled(slide_id="a", patient_id="p", target="x"),
        Labelled(slide_id="b", patient_id="p", target="y"),
    )


def test_two_columns_of_patients_have_to_agree(tmp_path: Path) -> None:
    text = "slide_id,label,case_id,patient_id\na,x,p,p\nb,y,{},q\n"
    labels = read_labels(write(tmp_path, text.format("q")))
    assert labels.patient_column == "patient_id"
    with pytest.raises(
        ManifestError, match=r"patient_id and case_id differ in 1 rows, first in row 3: .*rename"
    ):
        read_labels(write(tmp_path, text.format("q2")))


def test_a_slide_id_is_not_asked_to_agree_with_a_file_name(tmp_path: Path) -> None:
    labels = read_labels(write(tmp_path, "filename,slide_id,label\na.svs,a,x\n"))
    assert labels.rows[0].slide_id == "a"
    assert labels.rows[0].carried == {"filename": "a.svs"}


def test_the_split_may_have_another_name(tmp_path: Path) -> None:
    path = write(tmp_path, "slide_id,label,fold_3\na,x,val\n")
    assert read_labels(path, split="fold_3").rows[0].split == "val"
    assert read_labels(path, split="fold_3").rows[0].carried == {}


def test_capitals_of_the_split_do_not_matter(tmp_path: Path) -> None:
    labels = read_labels(write(tmp_path, "slide_id,label,Split\na,x,val\n"))
    assert labels.has_split
    assert labels.rows == (Labelled(slide_id="a", patient_id="a", target="x", split="val"),)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("image,label\na,x\n", r"columns are image, label; 'slide_id' is needed"),
        ("slide_id,label\na,x\na.h5,x\n", r"'a' occurs 2 times"),
        ("slide_id,label,case_id\na,x,p\nb,x,\n", r"row 3 has no case_id"),
        ("slide_id,label,seed\na,x,1\n", r"'seed' is what the predictions call theirs"),
        ("slide_id,label\na,x\nb,\na,y\n", r"'a' occurs 2 times; row 3 has no label"),
        ("slide_id,label,patient_id\na,x,p\nb,x,\n", r"row 3 has no patient_id"),
        ("slide_id,label\n", r"no slides"),
        ("slide_id,label,case\na,NA,p\n\nb,x, nan \n", r"row 2 has no label; row 4 has no case"),
        ("", r"'slide_id' is needed; 'label' is needed"),
        ("slide_id,label\na,x\nb,y,z\nc\n", r"rows \[3, 4\] have more or fewer values"),
        ("slide_id,label,label\na,x,y\n", r"only once"),
        ('slide_id,label\na,"x"y"\n', r"labels\.csv: .*expected"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(ManifestError, match=complaint):
        read_labels(write(tmp_path, text))


def test_a_missing_column_or_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="'fold' is needed"):
        read_labels(write(tmp_path, "slide_id,label\na,x\n"), split="fold")
    with pytest.raises(ManifestError, match=r"none\.csv"):
        read_labels(tmp_path / "none.csv")
