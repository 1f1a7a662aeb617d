"""OME-Zarr metadata as anybody writes it, 0.4 and 0.5: which arrays are levels, and where they lie.

Source: the OME-NGFF specifications 0.4 and 0.5, sections on axes and multiscales.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from wsi.errors import UnsupportedSlideError

VERSIONS = frozenset({"0.4", "0.5"})
AXIS_LETTERS = frozenset("tczyx")
UM_PER_UNIT: Mapping[str, float] = {
    "angstrom": 1e-4,
    "picometer": 1e-6,
    "nanometer": 1e-3,
    "nm": 1e-3,
    "micrometer": 1.0,
    "micron": 1.0,
    "um": 1.0,
    "\N{MICRO SIGN}m": 1.0,
    "\N{GREEK SMALL LETTER MU}m": 1.0,
    "millimeter": 1e3,
    "mm": 1e3,
    "centimeter": 1e4,
    "decimeter": 1e5,
    "meter": 1e6,
    "inch": 25_400.0,
}
WHOLE = 1e-6  # a downsample this close to an integer was one before it was written as a product


@dataclass(frozen=True, slots=True, kw_only=True)
class Multiscale:
    """What an image's metadata says of its levels.

    Attributes
    ----------
    version
        Of the specification: ``"0.4"`` or ``"0.5"``.
    axes
        Axis letters in the arrays' order: ``"cyx"``, ``"tczyx"`` …
    paths
        The arrays' names below the group, finest first.
    downsamples
        Level-0 pixels per pixel of each level.
    corners
        (x, y) of each level's top-left corner in level-0 pixels: (0, 0) where the levels cover
        the same area.
    mpp
        Level-0 µm per pixel along x and y; None where the axes name no unit of length.
    """

    version: str
    axes: str
    paths: tuple[str, ...]
    downsamples: tuple[float, ...]
    corners: tuple[tuple[float, float], ...]
    mpp: tuple[float, float] | None


def ome_attributes(attributes: Mapping[str, Any]) -> Mapping[str, Any]:
    """A group's OME attributes, which 0.5 keeps under ``ome`` and 0.4 at the top."""
    found = attributes.get("ome", attributes)
    return found if isinstance(found, Mapping) else {}


def read_multiscale(attributes: Mapping[str, Any]) -> Multiscale:
    """Read the first multiscale image of a group's attributes.

    The transformations of a level are applied in their order, those of the multiscale after them.
    A level without a translation is taken to cover the same area as level 0: writers that leave
    it out average blocks of pixels all the same.

    Raises
    ------
    UnsupportedSlideError
        If there is no image, its version is another, or its metadata is malformed.
    """
    ome = ome_attributes(attributes)
    if "multiscales" not in ome:
        raise UnsupportedSlideError(_not_an_image(ome))
    if "image-label" in ome:
        raise UnsupportedSlideError("a label image, not a slide: give the image it belongs to")
    try:
        said = ome["multiscales"][0]
        version = str(ome.get("version", said.get("version", "0.4")))
        if version not in VERSIONS:
            raise UnsupportedSlideError(
                f"OME-Zarr {version}: {' and '.join(sorted(VERSIONS))} are read; "
                "write it anew with a current converter"
            )
        axes = _axes(said["axes"])
        after = said.get("coordinateTransformations", ())
        own = [level["coordinateTransformations"] for level in said["datasets"]]
        placed = [_place([*transforms, *after], axes) for transforms in own]
        says_where = [any(t["type"] == "translation" for t in transforms) for transforms in own]
        paths = tuple(str(level["path"]) for level in said["datasets"])
        units = {str(axis["name"]).lower(): axis.get("unit") for axis in said["axes"]}
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        if isinstance(error, UnsupportedSlideError):
            raise
        what = f"{type(error).__name__}: {error}"
        raise UnsupportedSlideError(f"the OME-Zarr metadata is malformed ({what})") from error
    if not placed:
        raise UnsupportedSlideError("the OME-Zarr metadata is malformed (no datasets)")
    scale0, start0 = placed[0]
    downsamples = tuple(_whole((s[0] / scale0[0] + s[1] / scale0[1]) / 2) for s, _ in placed)
    corners = tuple(
        _corner(scale, start, scale0, start0) if is_said else (0.0, 0.0)
        for (scale, start), is_said in zip(placed, says_where, strict=True)
    )
    return Multiscale(
        version=version,
        axes=axes,
        paths=paths,
        downsamples=downsamples,
        corners=corners,
        mpp=_mpp(scale0, units),
    )


def _not_an_image(ome: Mapping[str, Any]) -> str:
    """Why a group without ``multiscales`` is no slide."""
    for key, what in (("plate", "a plate of many images"), ("well", "a well of many images")):
        if key in ome:
            return f"{what}: give the folder of one image in it"
    return "a Zarr group that is no OME-Zarr image (its attributes have no 'multiscales')"


def _axes(said: Sequence[Mapping[str, Any]]) -> str:
    """Axis letters in order."""
    names = [str(axis["name"]).lower() for axis in said]
    if not set(names) <= AXIS_LETTERS or len(set(names)) < len(names) or not {"x", "y"} <= {*names}:
        raise UnsupportedSlideError(
            f"axes {', '.join(names)}: x, y and at most t, c, z are read, once each"
        )
    return "".join(names)


def _place(
    transforms: Sequence[Mapping[str, Any]], axes: str
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Scale, and where the centre of the first pixel is; both (x, y)."""
    scale, start = [1.0] * len(axes), [0.0] * len(axes)
    for transform in transforms:
        kind = transform["type"]
        if kind == "identity":
            continue
        if kind not in ("scale", "translation") or kind not in transform:
            raise UnsupportedSlideError(
                f"coordinate transformation {dict(transform)}: scales and translations given as "
                "numbers are read"
            )
        for n, value in zip(range(len(axes)), transform[kind], strict=True):
            if kind == "scale":
                scale[n] *= float(value)
                start[n] *= float(value)
            else:
                start[n] += float(value)
    x, y = axes.index("x"), axes.index("y")
    if not (0 < scale[x] < float("inf") and 0 < scale[y] < float("inf")):
        raise ValueError(f"a pixel of {scale[x]} x {scale[y]}")
    return (scale[x], scale[y]), (start[x], start[y])


def _corner(
    scale: tuple[float, float],
    start: tuple[float, float],
    scale0: tuple[float, float],
    start0: tuple[float, float],
) -> tuple[float, float]:
    """Where a level's corner is, from the centres of its first pixel and of level 0's."""
    x, y = (((start[n] - scale[n] / 2) - (start0[n] - scale0[n] / 2)) / scale0[n] for n in range(2))
    return round(x, 6), round(y, 6)  # what is left of a zero would decide ties when rounding


def _whole(downsample: float) -> float:
    nearest = round(downsample)
    return float(nearest) if abs(downsample - nearest) <= WHOLE * downsample else downsample


def _mpp(scale: tuple[float, float], units: Mapping[str, Any]) -> tuple[float, float] | None:
    um = [UM_PER_UNIT.get(str(units[axis])) for axis in "xy"]
    if um[0] is None or um[1] is None:
        return None
    return scale[0] * um[0], scale[1] * um[1]
