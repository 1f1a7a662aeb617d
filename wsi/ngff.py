"""OME-Zarr metadata: what makes a Zarr group an image with a physical size.

Source: the OME-NGFF 0.5 and 0.4 specifications, sections on multiscales, omero and labels.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import zarr

Version = Literal["0.5", "0.4"]
AXES: Mapping[str, Mapping[str, str]] = {
    "c": {"name": "c", "type": "channel"},
    "y": {"name": "y", "type": "space", "unit": "micrometer"},
    "x": {"name": "x", "type": "space", "unit": "micrometer"},
}


def placement(*, downsample: float, level0_mpp: float, axes: str) -> list[dict[str, Any]]:
    """Scale and translation that put an array with `downsample` into the slide's frame, in µm.

    The frame's origin is the centre of level-0 pixel (0, 0). A pixel that covers `downsample`
    level-0 pixels has its centre half its size minus half a level-0 pixel further on.

    Examples
    --------
    >>> placement(downsample=4, level0_mpp=0.5, axes="yx")[1]
    {'type': 'translation', 'translation': [0.75, 0.75]}
    """
    offset = (downsample - 1) / 2 * level0_mpp
    scale = [1.0 if axis == "c" else downsample * level0_mpp for axis in axes]
    translation = [0.0 if axis == "c" else offset for axis in axes]
    return [
        {"type": "scale", "scale": scale},
        {"type": "translation", "translation": translation},
    ]


def multiscales(
    *,
    name: str,
    axes: str,
    downsamples: Sequence[float],
    level0_mpp: float,
    version: Version = "0.5",
) -> dict[str, Any]:
    """The metadata of an image whose arrays are named 0, 1, … from finest to coarsest.

    Parameters
    ----------
    name
        Shown by viewers.
    axes
        Axis letters in order: ``"cyx"`` or ``"yx"``.
    downsamples
        Level-0 pixels of the *slide* per pixel of each array.
    level0_mpp
        µm per level-0 pixel of the slide.
    version
        Of the specification; 0.4 says it in each image, 0.5 once.
    """
    stated = {"version": version} if version == "0.4" else {}
    return {
        "version": version,
        "multiscales": [
            {
                **stated,
                "name": name,
                "axes": [dict(AXES[axis]) for axis in axes],
                "datasets": [
                    {
                        "path": str(level),
                        "coordinateTransformations": placement(
                            downsample=downsample, level0_mpp=level0_mpp, axes=axes
                        ),
                    }
                    for level, downsample in enumerate(downsamples)
                ],
            }
        ],
    }


def rgb_channels() -> dict[str, Any]:
    """The ``omero`` block that makes viewers show three channels as red, green and blue."""
    window = {"min": 0, "max": 255, "start": 0, "end": 255}
    colours = {"red": "FF0000", "green": "00FF00", "blue": "0000FF"}
    return {
        "channels": [
            {"label": label, "color": color, "active": True, "window": dict(window)}
            for label, color in colours.items()
        ],
        "rdefs": {"model": "color"},
    }


def put(group: zarr.Group, ome: Mapping[str, Any], *, version: Version) -> None:
    """Write metadata where a version has its place: under ``ome``, or in 0.4 beside the others."""
    if version == "0.5":
        group.attrs["ome"] = dict(ome)
    else:
        group.attrs.update({key: value for key, value in ome.items() if key != "version"})


def pixel_of(transforms: Sequence[Mapping[str, Any]], *, level0_mpp: float) -> tuple[float, float]:
    """Read `placement` back along x: (downsample, centre of the first pixel), level-0 pixels."""
    by_type = {transform["type"]: transform for transform in transforms}
    scale = float(by_type["scale"]["scale"][-1])
    translation = by_type.get("translation", {"translation": [0.0]})["translation"][-1]
    return scale / level0_mpp, float(translation) / level0_mpp
