"""Which of a slide's properties name a person or a case, and stay behind.

The scanners' own key-value pairs are kept in a pyramid, because mpp, objective and settings are
worth keeping; but some vendors put the patient's name or the label's barcode among them. This is
no de-identification: free text, such as an Aperio ``Title``, can hold anything.
"""

from collections.abc import Mapping

IDENTIFYING = (
    "patient",
    "barcode",
    "accession",
    "birth",
    "physician",
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
    "slideid",
    "slide_name",
    "artist",
    "subject",
    "experimenter",
    "documentname",
    "pagename",
    "hostcomputer",
)
EXACTLY = ("reference",)  # Hamamatsu's is a case; DICOM refers to much else
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
    return _has_word(key) or key.lower().rpartition(".")[2] in EXACTLY


def _identifies_in_text(comment: str) -> bool:
    return _has_word(comment) or OME_XML in comment.lower()


def _has_word(text: str) -> bool:
    plain = text.lower().replace("-", "")
    return any(word in plain for word in IDENTIFYING)
