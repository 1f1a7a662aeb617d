"""A slide as an OME-Zarr 0.5 image: its own JPEG tiles where they can be kept, else zstd."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from PIL import Image
from zarr.codecs import ZstdCodec

from wsi import levels, ngff
from wsi.errors import UnreadableRegionError
from wsi.jpeg.copy import copy_level
from wsi.jpeg.tiles import JpegTiles
from wsi.levels import LevelWriter, create_level, halvings
from wsi.resolution import Resolution
from wsi.slide import Pixels, Slide
from wsi.tissue import Mask, Tissue


@dataclass(frozen=True, slots=True, kw_only=True)
class PyramidRecord:
    """What was written.

    Attributes
    ----------
    codec
        Of the slide's own levels: ``"jpeg"``, tiles copied unchanged, or ``"zstd"``.
    level_shapes
        (height, width) of each level, finest first.
    invalid_chunks
        Chunks that did not decode.
    """

    codec: str
    level_shapes: tuple[tuple[int, int], ...]
    invalid_chunks: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Image:
    """Levels as written: sizes (width, height), level-0 pixels per pixel, and what decoded."""

    sizes: list[tuple[int, int]]
    downsamples: list[float]
    validity: Mask
    chunk_px: int
    invalid_chunks: int


def write_pyramid(
    slide: Slide,
    path: Path,
    *,
    name: str,
    resolution: Resolution,
    tissue: Tissue,
    tiles: JpegTiles | None = None,
) -> PyramidRecord:
    """Write a slide's pixels, pyramid and tissue mask to the new folder `path`.

    The group holds arrays ``0``, ``1`` … (c, y, x) uint8; ``labels/tissue``; and ``validity``, a
    (rows, columns) bool array with one element a chunk of level 0, False where the source did not
    decode (its pixels are 0, not white).

    With `tiles`, from `find_tiles`, the levels are the slide's own, their JPEG tiles unchanged
    behind the ``jpeg`` codec. Without, level 0 is decoded and stored with zstd, and each level is
    half the one before by 2 × 2 averaging. Either way levels are added until one fits
    `levels.COARSEST_PX`.

    Raises
    ------
    FileExistsError
        If there is something at `path`.
    """
    if path.exists():
        raise FileExistsError(f"{path} exists: remove it or choose another name")
    group = zarr.create_group(path, zarr_format=3)
    image = _copy(slide, tiles, group) if tiles else _encode(slide, group)
    validity = group.create_array("validity", data=image.validity)
    validity.attrs["chunk_level0_px"] = image.chunk_px
    _write_tissue(group, tissue, resolution.mpp, count=len(image.sizes))
    ome = ngff.multiscales(
        name=name, axes="cyx", downsamples=image.downsamples, level0_mpp=resolution.mpp
    )
    group.attrs.update(
        {
            "ome": ome | {"omero": ngff.rgb_channels()},
            "raypath": {
                "level0_mpp": resolution.mpp,
                "mpp_source": resolution.source.value,
                "vendor": slide.vendor,
                "reader": slide.reader,
                "associated_images": list(slide.associated_images),
            },
        }
    )
    return PyramidRecord(
        codec="jpeg" if tiles else "zstd",
        level_shapes=tuple((height, width) for width, height in image.sizes),
        invalid_chunks=image.invalid_chunks,
    )


def _encode(slide: Slide, group: zarr.Group) -> _Image:
    """Decode level 0 and write it and its halvings."""
    chunk_px = levels.CHUNK_PX
    width, height = slide.dimensions
    validity = np.ones((-(-height // chunk_px), -(-width // chunk_px)), np.bool_)

    def read(left: int, top: int, width: int, height: int) -> Pixels:
        try:
            return slide.read_region((left, top), 0, (width, height))
        except UnreadableRegionError:
            pixels = np.zeros((height, width, 3), np.uint8)
        # Some of it may decode: what does not is recorded by chunk.
        for y in range(0, height, chunk_px):
            for x in range(0, width, chunk_px):
                size = (min(chunk_px, width - x), min(chunk_px, height - y))
                try:
                    chunk = slide.read_region((left + x, top + y), 0, size)
                except UnreadableRegionError:
                    validity[(top + y) // chunk_px, (left + x) // chunk_px] = False
                else:
                    pixels[y : y + size[1], x : x + size[0]] = chunk
        return pixels

    sizes = halvings(slide.dimensions)
    arrays = [create_level(group, str(n), size) for n, size in enumerate(sizes)]
    LevelWriter(read=read, sizes=sizes, arrays=[*arrays]).write()
    return _Image(
        sizes=sizes,
        downsamples=[2.0**n for n in range(len(sizes))],
        validity=validity,
        chunk_px=chunk_px,
        invalid_chunks=int((~validity).sum()),
    )


def _copy(slide: Slide, tiles: JpegTiles, group: zarr.Group) -> _Image:
    """Copy the tiles of every level, and add halvings below the coarsest."""
    valid = [copy_level(level, group, str(n)) for n, level in enumerate(tiles.levels)]
    own = [level.dimensions for level in tiles.levels]
    coarsest: Any = group[str(len(own) - 1)]

    def read(left: int, top: int, width: int, height: int) -> Pixels:
        block = np.asarray(coarsest[:, top : top + height, left : left + width])
        return np.ascontiguousarray(block.transpose(1, 2, 0))

    added = halvings(own[-1])[1:]
    arrays = [create_level(group, str(len(own) + n), size) for n, size in enumerate(added)]
    if added:
        LevelWriter(read=read, sizes=[own[-1], *added], arrays=[None, *arrays]).write()
    last = slide.level_downsamples[-1]
    return _Image(
        sizes=[*own, *added],
        downsamples=[*slide.level_downsamples, *(last * 2.0 ** (n + 1) for n in range(len(added)))],
        validity=valid[0],
        chunk_px=tiles.levels[0].tile[0],
        invalid_chunks=sum(int((~level).sum()) for level in valid),
    )


def _write_tissue(group: zarr.Group, tissue: Tissue, level0_mpp: float, *, count: int) -> None:
    """Write the mask as a label; it must have as many levels as the image (OME-NGFF 0.5)."""
    labels = group.create_group(
        "labels", attributes={"ome": {"version": ngff.VERSION, "labels": ["tissue"]}}
    )
    label = labels.create_group("tissue")
    mask = tissue.mask
    for level in range(count):
        label.create_array(
            str(level),
            data=mask.astype(np.uint8),
            chunks=tuple(min(levels.CHUNK_PX, n) for n in mask.shape),
            compressors=ZstdCodec(level=levels.ZSTD_LEVEL),
            dimension_names=("y", "x"),
        )
        mask = np.asarray(Image.fromarray(mask.astype(np.uint8) * 255).reduce(2)) > 127
    downsamples = [tissue.downsample * 2.0**level for level in range(count)]
    ome = ngff.multiscales(name="tissue", axes="yx", downsamples=downsamples, level0_mpp=level0_mpp)
    colours = [{"label-value": 1, "rgba": [0, 158, 115, 128]}]
    image_label = {"version": ngff.VERSION, "colors": colours, "source": {"image": "../../"}}
    label.attrs.update(
        {"ome": ome | {"image-label": image_label}, "raypath": {"flags": list(tissue.flags)}}
    )
