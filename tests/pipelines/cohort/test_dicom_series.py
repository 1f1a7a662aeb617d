"""The files of a DICOM series are one slide, however they are named."""

from pathlib import Path

import pytest
from pydicom import Dataset
from pydicom.uid import generate_uid

from pipelines.cohort.manifest import read_cohort, read_manifest
from pipelines.errors import ManifestError
from tests.wsi.jpeg.test_dicom import SIZES, write_instance
from wsi.open import open_slide


def write_series(folder: Path, names: tuple[str, ...], *, label: str = "") -> None:
    """A level in each file, and a picture of the label that belongs to the slide too."""
    folder.mkdir(parents=True, exist_ok=True)
    series = generate_uid()
    for name, size in zip(names, SIZES, strict=False):
        write_instance(folder / f"{name}.dcm", size, series=series, colour="RGB")

    def as_label(header: Dataset) -> None:
        header.ImageType = ["ORIGINAL", "PRIMARY", "LABEL", "NONE"]

    if label:
        write_instance(
            folder / f"{label}.dcm", SIZES[2], series=series, colour="RGB", change=as_label
        )


def test_a_folder_has_a_slide_for_each_series(tmp_path: Path) -> None:
    write_series(tmp_path, ("c", "b", "a"), label="0")
    write_series(tmp_path / "deep", ("d",))
    (tmp_path / "deep" / "damaged.dcm").write_bytes(b"no DICOM")
    (tmp_path / "deep" / "e.svs").touch()
    entries = read_cohort([tmp_path])
    assert [entry.ref.slide_id for entry in entries] == ["a", "d", "damaged", "e"]
    assert entries[0].ref.path == tmp_path / "a.dcm"  # a level: "0" is a picture of the label
    with open_slide(entries[0].ref) as slide:
        assert slide.level_dimensions == SIZES


def test_two_files_of_a_series_are_not_two_slides(tmp_path: Path) -> None:
    write_series(tmp_path, ("a", "b"))
    write_series(tmp_path, ("other",))
    said = "a.dcm, .*b.dcm are of one DICOM series, so of one slide"
    with pytest.raises(ManifestError, match=said):
        read_cohort([tmp_path / "a.dcm", tmp_path / "b.dcm"])
    manifest = tmp_path / "cohort.csv"
    manifest.write_text("path\na.dcm\nother.dcm\nb.dcm\nmissing.dcm\n")
    with pytest.raises(ManifestError, match=said):
        read_manifest(manifest)
    manifest.write_text("path,slide_id\na.dcm,x\na.dcm,y\nother.dcm,z\n")
    assert len(read_manifest(manifest)) == 3  # one file twice is meant, under two masks say
