"""All of a pyramid that is not pixels of the slide: attributes, tissue, profile, validity."""

from collections.abc import Iterable, Mapping
from typing import Any

import dask.array as da
import numcodecs
import numpy as np
import zarr
from zarr.codecs import ZstdCodec

from wsi import ngff
from wsi.labels import write_labels
from wsi.pyramid.identity import split_properties
from wsi.pyramid.options import PyramidOptions
from wsi.pyramid.plan import PyramidPlan
from wsi.pyramid.storage import ZSTD_LEVEL
from wsi.resolution import Resolution
from wsi.slide import Slide
from wsi.tissue import Tissue

ASSOCIATED = "associated"
VALIDITY = "validity"
TISSUE_GREEN = (0, 158, 115, 128)


def describe(
    group: zarr.Group,
    slide: Slide,
    plan: PyramidPlan,
    *,
    name: str,
    resolution: Resolution,
    ours: Mapping[str, Any],
) -> None:
    """Write the image's attributes: OME's, what is known of the slide, and what is in `ours`."""
    kept, withheld = split_properties(slide.properties)
    known = {
        "level0_mpp": resolution.mpp,
        "mpp_source": resolution.source.value,
        "vendor": slide.vendor,
        "reader": slide.reader,
        "codec": plan.codec,
        "bounds_level0_px": _bounds(slide),
        "associated_images": list(slide.associated_images),
        "properties": kept,
        "withheld_properties": withheld,
    }
    ome = ngff.multiscales(
        name=name,
        axes="cyx",
        downsamples=plan.downsamples,
        level0_mpp=resolution.mpp,
        version=plan.options.ngff,
    )
    ngff.put(group, ome | {"omero": ngff.rgb_channels()}, version=plan.options.ngff)
    group.attrs["raypath"] = known | dict(ours)
    if slide.icc_profile is not None:
        # Of two axes, because some readers take arrays of one for a broken image.
        data = np.frombuffer(slide.icc_profile, np.uint8)[np.newaxis]
        _create(group.create_group("icc"), "profile", data, plan.options)


def write_associated(group: zarr.Group, slide: Slide, options: PyramidOptions) -> None:
    """Copy the associated images that were asked for, (c, y, x) each, as far as there are such."""
    wanted = [name for name in options.associated if name in slide.associated_images]
    if wanted:
        images = group.create_group(ASSOCIATED)
        for name in wanted:
            pixels = slide.read_associated(name)
            _create(images, name, pixels.transpose(2, 0, 1), options, axes="cyx")


def write_tissue(
    group: zarr.Group, tissue: Tissue, plan: PyramidPlan, *, level0_mpp: float
) -> None:
    """Write the mask as a label; it must have as many levels as the image (OME-NGFF)."""
    write_labels(
        group,
        "tissue",
        da.from_array(tissue.mask, chunks=-1),
        downsample=tissue.downsample,
        level0_mpp=level0_mpp,
        count=len(plan.sizes),
        colours={1: TISSUE_GREEN},
        meanings={1: "tissue"},
        ours={"flags": list(tissue.flags)},
        chunk_px=plan.options.chunk_px,
        version=plan.options.ngff,
    )


def write_validity(
    group: zarr.Group, plan: PyramidPlan, invalid: Iterable[tuple[str, int, int]]
) -> None:
    """Write which chunks of the slide's own levels decoded.

    They are in a group, because some readers take every array beside the levels for a level.
    """
    found = list(invalid)
    counts = [sum(name == str(level) for name, *_ in found) for level in range(len(plan.sizes))]
    validity = group.create_group(VALIDITY, overwrite=True)
    validity.attrs["invalid_by_level"] = counts
    for name, edge in plan.validity_px.items():
        width, height = plan.sizes[int(name)]
        valid = np.ones((-(-height // edge), -(-width // edge)), np.bool_)
        for level, row, column in found:
            if level == name:
                valid[row, column] = False
        _create(validity, name, valid, plan.options)
        validity[name].attrs["chunk_px"] = edge


def _create(
    group: zarr.Group,
    name: str,
    data: Any,
    options: PyramidOptions,
    *,
    axes: str | None = None,
) -> None:
    """Write a small array behind zstd, chunked like the image, replacing what is there."""
    v2 = options.ngff == "0.4"
    group.create_array(
        name,
        data=np.ascontiguousarray(data),
        chunks=tuple(max(1, min(options.chunk_px, n)) for n in data.shape)
        if axes
        else tuple(max(1, n) for n in data.shape),
        compressors=numcodecs.Zstd(level=ZSTD_LEVEL) if v2 else ZstdCodec(level=ZSTD_LEVEL),
        dimension_names=None if v2 or axes is None else tuple(axes),
        chunk_key_encoding={"name": "v2", "separator": "/"} if v2 else None,
        overwrite=True,
    )


def _bounds(slide: Slide) -> list[int] | None:
    """[x, y, width, height] of what was scanned, level-0 pixels; None where the file says none."""
    keys = [f"openslide.bounds-{key}" for key in ("x", "y", "width", "height")]
    if any(key not in slide.properties for key in keys):
        return None
    return [int(slide.properties[key]) for key in keys]
