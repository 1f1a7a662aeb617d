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
)


def split_properties(properties: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """Properties to keep, and the names of those that may identify someone.

    Examples
    --------
    >>> split_properties({"aperio.AppMag": "20", "hamamatsu.Barcode": "S26-1"})
    ({'aperio.AppMag': '20'}, ['hamamatsu.Barcode'])
    """
    withheld = sorted(
        key
        for key in properties
        if any(word in key.lower().replace("-", "") for word in IDENTIFYING)
    )
    # OpenSlide repeats the whole comment, in which the same things stand, in two properties.
    whole = {"openslide.comment", "tiff.ImageDescription"} & set(properties)
    withheld = sorted({*withheld, *whole}) if withheld else withheld
    kept = {key: value for key, value in properties.items() if key not in withheld}
    return kept, withheld
