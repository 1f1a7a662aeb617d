"""What an OME-Zarr image must be to be read as a slide."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import zarr

from wsi.errors import UnsupportedSlideError
from wsi.ngff_read import Multiscale

NEAR = 2.0  # pixels of a level by which its edges may lie off those of level 0: rounding


def check_pixels(array: zarr.Array[Any], axes: str) -> None:
    """Refuse what is not one plane of 8-bit RGB."""
    lengths = dict(zip(axes, array.shape, strict=True))
    for axis, what in (("t", "times"), ("z", "planes")):
        if lengths.get(axis, 1) != 1:
            raise UnsupportedSlideError(
                f"axis {axis} has length {lengths[axis]}: images of several {what} are not read, "
                "write the one that is wanted as an image of its own"
            )
    if array.dtype != np.uint8 or lengths.get("c") != 3:
        raise UnsupportedSlideError(
            f"pixels are {array.dtype} with {lengths.get('c', 'no')} channels; 8-bit RGB "
            "(uint8, axis c of length 3) is read: convert the image, or give the slide that a "
            "heatmap or mask was made from"
        )
    if min(array.shape) < 1:
        raise UnsupportedSlideError(f"the image has no pixels: its shape is {array.shape}")


def check_channels(ome: Mapping[str, Any]) -> None:
    """Refuse channels that the file shows in other colours than red, green and blue."""
    channels = ome.get("omero", {}).get("channels", ())
    colours = [str(channel.get("color", "")).upper() for channel in channels]
    wanted = ["FF0000", "00FF00", "0000FF"]
    if sorted(colours) == sorted(wanted) and colours != wanted:
        raise UnsupportedSlideError(
            f"the channels are shown as {', '.join(colours)}: not a picture in red, green, blue"
        )


def check_sizes(image: Multiscale, sizes: tuple[tuple[int, int], ...]) -> None:
    """Refuse levels that by their scale and translation do not cover what level 0 covers."""
    for n, size in enumerate(sizes):
        downsample = image.downsamples[n]
        ends = zip(image.corners[n], size, sizes[0], strict=True)
        off = max(max(abs(at), abs(at + k * downsample - full)) for at, k, full in ends)
        if off > NEAR * downsample:
            raise UnsupportedSlideError(
                f"level {image.paths[n]!r} is {size[0]}x{size[1]} px and level "
                f"{image.paths[0]!r} {sizes[0][0]}x{sizes[0][1]}, but its transformations make a "
                f"pixel {downsample:g} pixels of that wide and begin at {image.corners[n]}: mend "
                "the coordinateTransformations"
            )
