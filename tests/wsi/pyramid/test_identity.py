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
        "ventana.SlideAnnotation",
        "aperio.Case",
        "aperio.MRN",
        "aperio.DOB",
        "aperio.Name",
        "aperio.SlideName",
        "aperio.Slide Name",
        "aperio.Label",
        "aperio.Pathologist",
        "aperio.Comment",
        "aperio.Description",
        "hamamatsu.SlideLabel",
        "hamamatsu.SlideNumber",
        "mirax.GENERAL.PROJECT_NAME",
        "mirax.GENERAL.SLIDE_ID",
        "sakura.SlideName",
        "sakura.CaseName",
        "leica.Case",
        "dicom.LabelText",
        "dicom.ResponsiblePerson",
        "dicom.VerifyingObserverName",
        "dicom.AdmissionID",
        "dicom.RequestAttributesSequence[0].RequestedProcedureID",
        "dicom.StudyDescription",
        "dicom.SpecimenDescriptionSequence[0].SpecimenShortDescription",
        "dicom.OpticalPathSequence[0].OpticalPathDescription",
        "dicom.PersonIdentificationCodeSequence[0].CodeMeaning",
        "dicom.SOPInstanceUID",
        "dicom.StationName",
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


def test_a_word_that_names_a_case_alone_does_not_within_another() -> None:
    properties = {
        "tiff.ReferenceBlackWhite": "0",
        "philips.ModelName": "UFS",
        "mirax.NONHIERLAYER_0_NAME": "Scan data layer",
        "tiff.ImageDescription": "no reference",
    }
    assert split_properties(properties) == (properties, [])


def test_what_a_real_slide_says_of_its_pixels_is_kept(shared_data: Path) -> None:
    with openslide.OpenSlide(shared_data / "slides" / "CMU-1-Small-Region.svs") as slide:
        kept, withheld = split_properties(slide.properties)
    assert {"openslide.mpp-x", "aperio.AppMag", "aperio.ScanScope ID", "aperio.Date"} <= set(kept)
    assert "aperio.Filename" in withheld


def test_what_dicom_says_of_pixels_and_scanner_is_kept(shared_data: Path) -> None:
    path = shared_data / "slides" / "multi_frame_jpeg_camelyon_challenge_image.dcm"
    with openslide.OpenSlide(path) as slide:
        kept, withheld = split_properties(slide.properties)
    assert {
        "dicom.TotalPixelMatrixColumns",
        "dicom.ImageType[0]",
        "dicom.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing[1]",
        "dicom.OpticalPathSequence[0].IlluminationTypeCodeSequence[0].CodeMeaning",
    } <= set(kept)
    assert {"dicom.StudyInstanceUID", "dicom.FrameOfReferenceUID"} <= set(withheld)
