"""How many micrometres a level-0 pixel is, and who says so."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from wsi.errors import MissingResolutionError, ResolutionError

PLAUSIBLE_MPP = (0.05, 20.0)  # µm per pixel: below any light microscope, above any overview scan
ANISOTROPY = 0.01  # x and y may differ by this share; no scanner we know sells more
OBJECTIVE_UM = 10.0  # mpp × magnification is near 10 µm on every vendor's scanner …
CONTRADICTION = 3.0  # … so a factor beyond this is an error (camera adapters reach 2)
SUSPICION = 1.5  # … and beyond this a warning
ADVICE = "give the right one with --mpp or the manifest's mpp column"
UM_PER_TIFF_UNIT = {"inch": 25_400.0, "centimeter": 10_000.0}


class MppSource(StrEnum):
    """Who gave the resolution, most trusted first."""

    FLAG = "flag"
    MANIFEST = "manifest"
    VENDOR = "vendor property"
    DICOM = "DICOM pixel spacing"
    NGFF = "OME-Zarr scale"
    OME = "OME-XML pixel size"
    TIFF = "TIFF resolution tags"
    OBJECTIVE = "objective power"


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolution:
    """Level-0 `mpp` in µm per pixel, its `source`, and what is odd about it."""

    mpp: float
    source: MppSource
    warnings: tuple[str, ...] = ()


def resolve_mpp(
    properties: Mapping[str, str],
    *,
    given: float | None = None,
    given_by: MppSource = MppSource.FLAG,
) -> Resolution:
    """Find the level-0 resolution of a slide, most trusted source first.

    The order is the caller's value, the scanner's property, DICOM spacing or OME-XML, TIFF
    resolution tags, and last 10 µm over the objective's power. TIFF tags outside the plausible
    range (a screen's 72 dpi, for instance) are passed over; any other implausible value is an
    error.

    Parameters
    ----------
    properties
        The slide's properties under OpenSlide's names.
    given, given_by
        The caller's µm per pixel, and whether it came from the flag or the manifest.

    Raises
    ------
    MissingResolutionError
        If no source has a value.
    ResolutionError
        If the value is outside `PLAUSIBLE_MPP`, x and y differ by more than 1 %, or mpp and
        objective power contradict each other.

    Examples
    --------
    >>> resolve_mpp({"openslide.mpp-x": "0.499", "openslide.mpp-y": "0.499"}).source.value
    'vendor property'
    """
    if given is not None:
        _check_plausible(given, given_by)
        doubts = _compare_with_file(given, given_by, properties)
        return Resolution(mpp=given, source=given_by, warnings=doubts)
    passed_over: list[str] = []
    for source, mpp_x, mpp_y in _candidates(properties):
        mpp = (mpp_x + mpp_y) / 2
        if source is MppSource.TIFF and not PLAUSIBLE_MPP[0] <= mpp <= PLAUSIBLE_MPP[1]:
            why = f"{source} say {mpp:.6g} µm per pixel, which no scan has"
            if why not in passed_over:  # the tags are there twice, under two names
                passed_over.append(why)
            continue
        _check_plausible(mpp, source)
        if abs(mpp_x - mpp_y) > ANISOTROPY * mpp:
            raise ResolutionError(
                f"{source}: {mpp_x:.6g} µm per pixel along x but {mpp_y:.6g} along y, more than "
                f"{ANISOTROPY:.0%} apart: {ADVICE}"
            )
        suspicion = _compare_with_objective(mpp, properties)
        return Resolution(mpp=mpp, source=source, warnings=(*passed_over, *suspicion))
    raise MissingResolutionError(
        "nothing says how large a pixel is"
        + (f" ({'; '.join(passed_over)})" if passed_over else "")
        + ": give µm per pixel with --mpp, or in the manifest's mpp column"
    )


def _candidates(properties: Mapping[str, str]) -> Iterator[tuple[MppSource, float, float]]:
    """Every (source, mpp along x, mpp along y) in the file, most trusted first."""
    # OpenSlide and tiffslide derive mpp of a plain TIFF from its resolution tags; tiffslide names
    # no vendor then.
    plain = "tiff" if "tiff.XResolution" in properties else ""
    vendor = properties.get("openslide.vendor", plain)
    mpp_x = _number(properties, "openslide.mpp-x")
    mpp_y = _number(properties, "openslide.mpp-y")
    if mpp_x is not None and mpp_y is not None:
        by_vendor = {
            "dicom": MppSource.DICOM,
            "generic-tiff": MppSource.TIFF,
            "tiff": MppSource.TIFF,
            "ome-zarr": MppSource.NGFF,
            "ome-tiff": MppSource.OME,
        }
        source = by_vendor.get(vendor, MppSource.VENDOR)
        # A pyramid of ours remembers who said it of the slide it was made from.
        said = properties.get("raypath.mpp-source")
        yield next((s for s in MppSource if s.value == said), source), mpp_x, mpp_y
    unit = UM_PER_TIFF_UNIT.get(properties.get("tiff.ResolutionUnit", "").lower())
    dots_x = _number(properties, "tiff.XResolution")
    dots_y = _number(properties, "tiff.YResolution")
    if unit and dots_x and dots_y:
        yield MppSource.TIFF, unit / dots_x, unit / dots_y
    power = _number(properties, "openslide.objective-power")
    if power:
        yield MppSource.OBJECTIVE, OBJECTIVE_UM / power, OBJECTIVE_UM / power


def _compare_with_file(
    given: float, given_by: MppSource, properties: Mapping[str, str]
) -> tuple[str, ...]:
    """A doubt where the caller's value, which is taken, is far from the file's most trusted one.

    It may be meant for other slides of the cohort, or right where the file is wrong.
    """
    for source, mpp_x, mpp_y in _candidates(properties):
        mpp = (mpp_x + mpp_y) / 2
        if PLAUSIBLE_MPP[0] <= mpp <= PLAUSIBLE_MPP[1]:
            is_far = max(mpp / given, given / mpp) > SUSPICION
            doubt = f"{given_by} gave {given:.4g} µm per pixel, but {source} {mpp:.4g}"
            return (doubt,) if is_far else ()
    return ()


def _compare_with_objective(mpp: float, properties: Mapping[str, str]) -> tuple[str, ...]:
    power = _number(properties, "openslide.objective-power")
    if not power:
        return ()
    expected = OBJECTIVE_UM / power
    factor = max(mpp / expected, expected / mpp)
    message = f"mpp {mpp:.4g} and objective power {power:g}× (about {expected:.4g}) disagree"
    if factor > CONTRADICTION:
        raise ResolutionError(
            f"{message} by a factor of {factor:.1f} (limit {CONTRADICTION:g}): {ADVICE}"
        )
    return (message,) if factor > SUSPICION else ()


def _check_plausible(mpp: float, source: MppSource) -> None:
    low, high = PLAUSIBLE_MPP
    if not low <= mpp <= high:
        raise ResolutionError(
            f"{source}: {mpp:.6g} µm per pixel is outside {low:g}-{high:g}: {ADVICE}"
        )


def _number(properties: Mapping[str, str], key: str) -> float | None:
    """A property as a finite positive float; None where it is absent or not a number."""
    try:
        value = float(properties.get(key, ""))
    except ValueError:
        return None
    return value if 0 < value < float("inf") else None
