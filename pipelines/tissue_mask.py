"""A slide's tissue mask, wherever it comes from: detected, given, or stored with its pyramid."""

from pathlib import Path
from typing import Any

import numpy as np
import zarr

from pipelines.tissue_geojson import read_tissue
from wsi.labels import open_labels
from wsi.overview import overview_grid, read_overview
from wsi.ref import SlideRef
from wsi.slide import Slide
from wsi.tissue import Tissue, find_tissue, load_mask, overview_downsample


def tissue_of(
    slide: Slide, ref: SlideRef, *, level0_mpp: float, edited: Path | None = None
) -> Tissue:
    """Find the tissue of a slide, or take the mask a person gave.

    Parameters
    ----------
    edited
        Polygons a person edited; they go before `ref.mask`.

    Raises
    ------
    MaskError
        If the mask given cannot be read, or is not of this slide.
    """
    mask = edited or ref.mask
    downsample = overview_downsample(slide.dimensions, level0_mpp=level0_mpp)
    if mask is None:
        return find_tissue(read_overview(slide, downsample=downsample), level0_mpp=level0_mpp)
    if mask.suffix.lower() not in (".geojson", ".json"):
        return load_mask(mask, dimensions=slide.dimensions)
    # On the detection's own grid, so that what was not edited stays as it was to the pixel.
    shape, downsample = overview_grid(slide, downsample=downsample)
    return read_tissue(
        mask,
        dimensions=slide.dimensions,
        origin=scanned_corner(slide),
        shape=shape,
        downsample=downsample,
    )


def scanned_corner(slide: Slide) -> tuple[int, int]:
    """The corner (x, y) of the scanned area, level-0 pixels, from which QuPath counts."""
    x, y = (int(slide.properties.get(f"openslide.bounds-{axis}", 0)) for axis in "xy")
    return x, y


def stored_tissue(image: Path) -> Tissue | None:
    """The tissue mask in a pyramid of ours; None where it has none."""
    group = zarr.open_group(image, mode="r")
    if "labels/tissue/0" not in group:
        return None
    stored: Any = group["labels/tissue"]
    ours: Any = group.attrs["raypath"]
    labels = open_labels(stored, level0_mpp=float(ours["level0_mpp"]))
    return Tissue(mask=np.asarray(labels.levels[0][...]) > 0, downsample=labels.downsamples[0])
