"""Which of a slide's properties name a person or a case, and stay behind.

The scanners' own key-value pairs are kept in a pyramid, because mpp, objective and settings are
worth keeping; but some vendors put the patient's name or the label's barcode among them. Of DICOM,
where the whole data set is there, only what is known to describe pixels and scanner is kept. This
is no de-identification: free text, such as an Aperio ``Title``, can hold anything.
"""

import re
from collections.abc import Mapping

IDENTIFYING = (  # in lower case, without what `SEPARATORS` matches
    "patient",
    "barcode",
    "accession",
    "birth",
    "physician",
    "pathologist",
    "operator",
    "institution",
    "studyid",
    "containeridentifier",
    "specimenidentifier",
    "specimenlabel",
    "user",
    "filename",
    "hospital",
    "title",
    "annotation",
    "slideid",
    "slidelabel",
    "slidename",
    "slidenumber",
    "casename",
    "caseid",
    "casenumber",
    "projectname",
    "artist",
    "subject",
    "experimenter",
    "documentname",
    "pagename",
    "hostcomputer",
)
EXACTLY = frozenset(  # the last part of a name; within others these words mean something else
    {"case", "comment", "description", "dob", "label", "mrn", "name", "reference"}
)
SEPARATORS = re.compile(r"[-_ ]")
DICOM = "dicom."
TECHNICAL = frozenset(  # keywords of DICOM; a nested attribute is kept if each part is one
    [
        "Rows",
        "Columns",
        "NumberOfFrames",
        "SamplesPerPixel",
        "PhotometricInterpretation",
        "PlanarConfiguration",
        "BitsAllocated",
        "BitsStored",
        "HighBit",
        "PixelRepresentation",
        "LossyImageCompression",
        "LossyImageCompressionMethod",
        "LossyImageCompressionRatio",
        "TransferSyntaxUID",
        "SOPClassUID",
        "Modality",
        "ImageType",
        "Manufacturer",
        "ManufacturerModelName",
        "SoftwareVersions",
        "TotalPixelMatrixRows",
        "TotalPixelMatrixColumns",
        "TotalPixelMatrixFocalPlanes",
        "TotalPixelMatrixOriginSequence",
        "XOffsetInSlideCoordinateSystem",
        "YOffsetInSlideCoordinateSystem",
        "DimensionOrganizationType",
        "ImageOrientationSlide",
        "VolumetricProperties",
        "ImagedVolumeWidth",
        "ImagedVolumeHeight",
        "ImagedVolumeDepth",
        "FocusMethod",
        "ExtendedDepthOfField",
        "NumberOfFocalPlanes",
        "DistanceBetweenFocalPlanes",
        "SharedFunctionalGroupsSequence",
        "PixelMeasuresSequence",
        "PixelSpacing",
        "SliceThickness",
        "SpacingBetweenSlices",
        "NumberOfOpticalPaths",
        "OpticalPathSequence",
        "OpticalPathIdentifier",
        "IlluminationTypeCodeSequence",
        "IlluminationColorCodeSequence",
        "IlluminationWaveLength",
        "CodeValue",
        "CodingSchemeDesignator",
        "CodeMeaning",
        "ObjectiveLensPower",
        "ObjectiveLensNumericalAperture",
    ]
)
COMMENTS = ("openslide.comment", "tiff.ImageDescription")  # free text, or all properties once more
OME_XML = "<ome"  # names its images, often after the file they come from


def split_properties(properties: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """Properties to keep, and the names of those that may identify someone.

    Examples
    --------
    >>> split_properties({"aperio.AppMag": "20", "hamamatsu.Barcode": "S26-1"})
    ({'aperio.AppMag': '20'}, ['hamamatsu.Barcode'])
    """
    withheld = {key for key in properties if _identifies(key)}
    comments = set(COMMENTS) & set(properties)
    if withheld or any(_identifies_in_text(properties[key]) for key in comments):
        withheld |= comments
    kept = {key: value for key, value in properties.items() if key not in withheld}
    return kept, sorted(withheld)


def _identifies(key: str) -> bool:
    if key.startswith(DICOM):
        keywords = re.sub(r"\[\d+\]", "", key.removeprefix(DICOM)).split(".")
        return not TECHNICAL.issuperset(keywords)
    return key not in COMMENTS and (_has_word(key) or key.lower().rpartition(".")[2] in EXACTLY)


def _identifies_in_text(comment: str) -> bool:
    return _has_word(comment) or OME_XML in comment.lower()


def _has_word(text: str) -> bool:
    plain = SEPARATORS.sub("", text.lower())
    return any(word in plain for word in IDENTIFYING)
