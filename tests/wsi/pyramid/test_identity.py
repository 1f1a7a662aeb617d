from pathlib import Path

import openslide
import pytest

from wsi.pyramid.identity import split_properties


@pytest.mark.parametrize(
    "name",
    [
        "dicom.PatientName",
        "dicom.PatientID",
        "dicom.PatientBirthDate",
        "dicom.AccessionNumber",
        "hamamatsu.Barcode",
        "leica.barcode",
        "mirax.GENERAL.SLIDE_NAME",
        "aperio.User",
        "aperio.Filename",
        "aperio.Title",
        "dicom.ContainerIdentifier",
        "dicom.InstitutionName",
        "dicom.ClinicalTrialSubjectID",
        "hamamatsu.Reference",
        "tiff.Artist",
        "tiff.DocumentName",
        "tiff.HostComputer",
        "tiff.PageName",
    ],
)
def test_what_names_someone_stays_behind(name: str) -> None:
    kept, withheld = split_properties({name: "x", "openslide.mpp-x": "0.25"})
    assert (kept, withheld) == ({"openslide.mpp-x": "0.25"}, [name])


def test_the_comment_goes_with_what_it_repeats() -> None:
    comment = {"openslide.comment": "Aperio|x", "tiff.ImageDescription": "Aperio|x"}
    kept, withheld = split_properties(comment | {"aperio.User": "x"})
    assert (kept, len(withheld)) == ({}, 3)
    assert split_properties(comment) == (comment, [])


@pytest.mark.parametrize("name", ["openslide.comment", "tiff.ImageDescription"])
@pytest.mark.parametrize(
    "text",
    [
        '<OME><Experimenter LastName="Doe"/></OME>',
        '<OME xmlns="x"><Image ID="Image:0" Name="DOE_JOHN_S12-345.svs"/></OME>',
        "Aperio|User = x",
        "Patient-ID: 1",
    ],
)
def test_a_comment_that_names_someone_stays_behind(name: str, text: str) -> None:
    kept, withheld = split_properties({name: text, "openslide.mpp-x": "0.25"})
    assert (kept, withheld) == ({"openslide.mpp-x": "0.25"}, [name])


def test_a_reference_to_another_thing_is_none_to_a_case() -> None:
    properties = {"dicom.FrameOfReferenceUID": "1.2", "tiff.ImageDescription": "no reference"}
    assert split_properties(properties) == (properties, [])


def test_what_a_real_slide_says_of_its_pixels_is_kept(shared_data: Path) -> None:
    with openslide.OpenSlide(shared_data / "slides" / "CMU-1-Small-Region.svs") as slide:
        kept, withheld = split_properties(slide.properties)
    assert {"openslide.mpp-x", "aperio.AppMag", "aperio.ScanScope ID", "aperio.Date"} <= set(kept)
    assert "aperio.Filename" in withheld
