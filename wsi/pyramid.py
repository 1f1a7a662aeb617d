"""A slide as an OME-Zarr 0.5 image: sharded, zstd, halved level by level in bounded memory."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from PIL import Image
from zarr.codecs import ZstdCodec

from wsi import ngff
from wsi.errors import UnreadableRegionError
from wsi.resolution import Resolution
from wsi.slide import Pixels, Slide
from wsi.tissue import Mask, Tissue

CHUNK_PX = 512  # edge of a chunk, the unit a viewer reads
SHARD_PX = 4096  # edge of a shard, the unit a worker writes: 50 MB of pixels
COARSEST_PX = 512  # levels are added until one fits into this
ZSTD_LEVEL = 1  # stained tissue is noise to zstd: higher levels cost time and gain little


@dataclass(frozen=True, slots=True, kw_only=True)
class PyramidRecord:
    """What was written: level shapes (height, width), and chunks of level 0 that did not decode."""

    level_shapes: tuple[tuple[int, int], ...]
    invalid_chunks: int


def write_pyramid(
    slide: Slide, path: Path, *, name: str, resolution: Resolution, tissue: Tissue
) -> PyramidRecord:
    """Write a slide's pixels, pyramid and tissue mask to the new folder `path`.

    The group holds arrays ``0``, ``1`` … (c, y, x) uint8, each half the one before by 2 × 2
    averaging; ``labels/tissue``; and ``validity``, a (rows, columns) bool array with one element
    a chunk of level 0, False where the source did not decode (its pixels are 0, not white).

    Raises
    ------
    FileExistsError
        If there is something at `path`.
    """
    if path.exists():
        raise FileExistsError(f"{path} exists: remove it or choose another name")
    group = zarr.create_group(path, zarr_format=3)
    writer = _Writer(slide=slide, levels=_create_levels(group, slide.dimensions))
    writer.write()
    validity = group.create_array("validity", data=writer.validity)
    validity.attrs["chunk_level0_px"] = CHUNK_PX
    _write_tissue(group, tissue, resolution.mpp, levels=len(writer.levels))
    downsamples = [2.0**level for level in range(len(writer.levels))]
    ome = ngff.multiscales(
        name=name, axes="cyx", downsamples=downsamples, level0_mpp=resolution.mpp
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
        level_shapes=tuple((int(a.shape[1]), int(a.shape[2])) for a in writer.levels),
        invalid_chunks=int((~writer.validity).sum()),
    )


@dataclass(slots=True, kw_only=True)
class _Writer:
    """Walks the pyramid as a quad-tree: a shard is halved while it is in memory."""

    slide: Slide
    levels: list[zarr.Array[Any]]
    validity: Mask = field(init=False)

    def write(self) -> None:
        """Write every level, one shard of level 0 after the other."""
        width, height = self.slide.dimensions
        self.validity = np.ones((-(-height // CHUNK_PX), -(-width // CHUNK_PX)), np.bool_)
        top = len(self.levels) - 1
        _, height, width = self.levels[top].shape
        for row in range(-(-height // SHARD_PX)):
            for column in range(-(-width // SHARD_PX)):
                self._build(top, row, column)

    def _build(self, level: int, row: int, column: int) -> Pixels:
        """Write shard (row, column) of a level and all below it; returns its pixels (H, W, 3)."""
        _, height, width = self.levels[level].shape
        top, left = row * SHARD_PX, column * SHARD_PX
        shard_height, shard_width = min(SHARD_PX, height - top), min(SHARD_PX, width - left)
        if level == 0:
            pixels = self._read(left, top, shard_width, shard_height)
        else:
            pixels = np.empty((shard_height, shard_width, 3), np.uint8)
            half = SHARD_PX // 2
            for dy in range(-(-shard_height // half)):
                for dx in range(-(-shard_width // half)):
                    child = self._build(level - 1, 2 * row + dy, 2 * column + dx)
                    # Pillow averages the pixels there are in an odd last row or column.
                    reduced = np.asarray(Image.fromarray(child).reduce(2))
                    y, x = dy * half, dx * half
                    pixels[y : y + reduced.shape[0], x : x + reduced.shape[1]] = reduced
        self.levels[level][:, top : top + shard_height, left : left + shard_width] = (
            pixels.transpose(2, 0, 1)
        )
        return pixels

    def _read(self, left: int, top: int, width: int, height: int) -> Pixels:
        try:
            return self.slide.read_region((left, top), 0, (width, height))
        except UnreadableRegionError:
            return self._read_by_chunk(left, top, width, height)

    def _read_by_chunk(self, left: int, top: int, width: int, height: int) -> Pixels:
        """Read what can be read of a damaged shard and record the chunks that cannot."""
        pixels = np.zeros((height, width, 3), np.uint8)
        for y in range(0, height, CHUNK_PX):
            for x in range(0, width, CHUNK_PX):
                size = (min(CHUNK_PX, width - x), min(CHUNK_PX, height - y))
                try:
                    chunk = self.slide.read_region((left + x, top + y), 0, size)
                except UnreadableRegionError:
                    self.validity[(top + y) // CHUNK_PX, (left + x) // CHUNK_PX] = False
                else:
                    pixels[y : y + size[1], x : x + size[0]] = chunk
        return pixels


def _create_levels(group: zarr.Group, dimensions: tuple[int, int]) -> list[zarr.Array[Any]]:
    width, height = dimensions
    levels: list[zarr.Array[Any]] = []
    while True:
        shard = tuple(min(SHARD_PX, -(-n // CHUNK_PX) * CHUNK_PX) for n in (height, width))
        levels.append(
            group.create_array(
                str(len(levels)),
                shape=(3, height, width),
                dtype="uint8",
                chunks=(3, CHUNK_PX, CHUNK_PX),
                shards=(3, *shard),
                compressors=ZstdCodec(level=ZSTD_LEVEL),
                dimension_names=("c", "y", "x"),
            )
        )
        if max(width, height) <= COARSEST_PX:
            return levels
        width, height = -(-width // 2), -(-height // 2)


def _write_tissue(group: zarr.Group, tissue: Tissue, level0_mpp: float, *, levels: int) -> None:
    """Write the mask as a label; it must have as many levels as the image (OME-NGFF 0.5)."""
    labels = group.create_group(
        "labels", attributes={"ome": {"version": ngff.VERSION, "labels": ["tissue"]}}
    )
    label = labels.create_group("tissue")
    mask = tissue.mask
    for level in range(levels):
        label.create_array(
            str(level),
            data=mask.astype(np.uint8),
            chunks=tuple(min(CHUNK_PX, n) for n in mask.shape),
            compressors=ZstdCodec(level=ZSTD_LEVEL),
            dimension_names=("y", "x"),
        )
        mask = np.asarray(Image.fromarray(mask.astype(np.uint8) * 255).reduce(2)) > 127
    downsamples = [tissue.downsample * 2.0**level for level in range(levels)]
    ome = ngff.multiscales(name="tissue", axes="yx", downsamples=downsamples, level0_mpp=level0_mpp)
    colours = [{"label-value": 1, "rgba": [0, 158, 115, 128]}]
    image_label = {"version": ngff.VERSION, "colors": colours, "source": {"image": "../../"}}
    label.attrs.update(
        {"ome": ome | {"image-label": image_label}, "raypath": {"flags": list(tissue.flags)}}
    )
