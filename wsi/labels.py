"""Label images beside a slide's pixels: written from lazy arrays in bounded memory, read, counted.

Source: the OME-NGFF 0.5 specification, section on labels.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dask.array as da
import numcodecs
import numpy as np
import zarr
from dask.base import compute
from dask.delayed import delayed
from numpy.typing import NDArray
from zarr.codecs import ZstdCodec

from wsi import ngff

Labels = NDArray[np.integer[Any]]
Rgba = tuple[int, int, int, int]

HALVINGS = 3  # levels made of a block while it is in memory
ZSTD_LEVEL = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelLevels:
    """An open label image.

    Attributes
    ----------
    levels
        (y, x) arrays of labels, finest first; 0 is background.
    downsamples
        Level-0 pixels of the slide per pixel of each level.
    colours
        Of the labels that have one.
    """

    levels: tuple[zarr.Array[Any], ...]
    downsamples: tuple[float, ...]
    colours: Mapping[int, Rgba]


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelArea:
    """How much of a slide a label covers."""

    pixels: int
    area_mm2: float


def write_labels(
    image: zarr.Group,
    name: str,
    labels: da.Array,
    *,
    downsample: float,
    level0_mpp: float,
    count: int,
    colours: Mapping[int, Rgba],
    meanings: Mapping[int, str] | None = None,
    ours: Mapping[str, Any] | None = None,
    chunk_px: int = 512,
    version: ngff.Version = "0.5",
) -> None:
    """Write ``labels/<name>`` of an image, with every level made in one pass over `labels`.

    A coarser pixel has the most frequent label of the 2 × 2 below it, of equals the greatest, so
    that a thin structure is not lost to the background.

    Parameters
    ----------
    image
        The image's group.
    labels
        (H, W) integers or bool, 0 is background. Each of its blocks is computed once, and some
        blocks of 4096 × 4096 pixels are in memory at a time.
    downsample, level0_mpp
        Level-0 pixels of the slide per pixel of `labels`, and µm per level-0 pixel.
    count
        Levels to write: as many as the image has, as the specification demands.
    colours
        Red, green, blue and opacity (0-255) of each label that viewers should show so; without
        any, viewers choose.
    meanings
        What labels stand for, stored as the property ``name`` of each.
    ours
        The label's ``raypath`` attribute.
    chunk_px
        Edge of a chunk.
    version
        Of OME-Zarr, the image's.
    """
    folder = image.require_group("labels")
    attributes: Any = folder.attrs.asdict()
    known = attributes.get("ome", attributes).get("labels", ())
    names = list(dict.fromkeys([*known, name]))
    ngff.put(folder, {"version": version, "labels": names}, version=version)
    group = folder.create_group(name)
    labels = labels.astype(np.uint8) if labels.dtype == np.bool_ else labels
    arrays = _create(group, labels, count, chunk_px)
    _store(labels, arrays[: HALVINGS + 1])
    for first in range(HALVINGS, count - 1, HALVINGS):
        source: da.Array = da.from_zarr(arrays[first])
        _store(source, [None, *arrays[first + 1 : first + HALVINGS + 1]])
    downsamples = [downsample * 2.0**level for level in range(count)]
    ome = ngff.multiscales(
        name=name, axes="yx", downsamples=downsamples, level0_mpp=level0_mpp, version=version
    )
    shown = [{"label-value": value, "rgba": list(rgba)} for value, rgba in colours.items()]
    label: dict[str, Any] = {"version": version, "source": {"image": "../../"}}
    label |= {"colors": shown} if shown else {}  # the specification has no empty list of colours
    said = [{"label-value": value, "name": text} for value, text in (meanings or {}).items()]
    label |= {"properties": said} if said else {}
    ngff.put(group, ome | {"image-label": label}, version=version)
    group.attrs["raypath"] = dict(ours or {})


def open_labels(group: zarr.Group, *, level0_mpp: float) -> LabelLevels:
    """Open what `write_labels` left in `group`, of a slide of `level0_mpp` µm per pixel."""
    attributes: Any = group.attrs.asdict()
    ome = attributes.get("ome", attributes)
    datasets = ome["multiscales"][0]["datasets"]
    levels: tuple[Any, ...] = tuple(group[dataset["path"]] for dataset in datasets)
    transforms = [dataset["coordinateTransformations"] for dataset in datasets]
    shown = ome["image-label"].get("colors", ())
    return LabelLevels(
        levels=levels,
        downsamples=tuple(ngff.pixel_of(each, level0_mpp=level0_mpp)[0] for each in transforms),
        colours={int(each["label-value"]): tuple(each["rgba"]) for each in shown},
    )


def label_areas(labels: da.Array, *, pixel_um: float) -> dict[int, LabelArea]:
    """The area of every label but 0 in a lazy (H, W) array whose pixels are `pixel_um` wide."""
    parts = [delayed(_count)(block) for block in labels.to_delayed().ravel()]
    total: Counter[int] = Counter()
    for part in compute(*parts):
        total.update(part)
    del total[0]
    pixel_mm2 = (pixel_um / 1000) ** 2
    return {
        label: LabelArea(pixels=pixels, area_mm2=pixels * pixel_mm2)
        for label, pixels in sorted(total.items())
    }


def halve_labels(labels: Labels) -> Labels:
    """The most frequent label of every 2 × 2 pixels, of equals the greatest; (H, W) integers.

    An odd last row or column counts twice.

    Examples
    --------
    >>> halve_labels(np.array([[1, 1, 0], [2, 3, 7]])).tolist()
    [[1, 7]]
    """
    odd = [(0, n % 2) for n in labels.shape]
    even = np.pad(labels, odd, mode="edge")
    four = np.stack([even[y::2, x::2] for y in (0, 1) for x in (0, 1)])
    four.sort(axis=0)
    a, b, c, d = four
    return np.asarray(np.where(c == d, d, np.where(b == c, c, np.where(a == b, b, d))))


def _create(
    group: zarr.Group, labels: da.Array, count: int, chunk_px: int
) -> list[zarr.Array[Any]]:
    v2 = group.metadata.zarr_format == 2
    arrays = []
    shape = labels.shape
    for level in range(count):
        array = group.create_array(
            str(level),
            shape=shape,
            dtype=labels.dtype,
            chunks=(chunk_px, chunk_px),
            compressors=numcodecs.Zstd(ZSTD_LEVEL) if v2 else ZstdCodec(level=ZSTD_LEVEL),
            dimension_names=None if v2 else ("y", "x"),
            chunk_key_encoding={"name": "v2", "separator": "/"} if v2 else None,
        )
        arrays.append(array)
        shape = tuple(-(-n // 2) for n in shape)
    return arrays


def _store(labels: da.Array, arrays: Sequence[zarr.Array[Any] | None]) -> None:
    """Write an array and its halvings, a block at a time; None for what is written already."""
    chunk_px: int = next(array for array in arrays if array is not None).chunks[0]
    edge = chunk_px * 2**HALVINGS  # blocks end where chunks do, at each of their levels
    blocks = labels.rechunk((edge, edge))
    done: da.Array = da.map_blocks(
        _store_block,
        blocks,
        arrays=arrays,
        chunks=tuple((1,) * n for n in blocks.numblocks),
        dtype=np.bool_,
        meta=np.empty((0, 0), np.bool_),
    )
    done.all().compute()


def _store_block(
    block: Labels, *, arrays: Sequence[zarr.Array[Any] | None], block_info: dict[Any, Any]
) -> NDArray[np.bool_]:
    """Write a block and its halvings to where they belong."""
    (top, _), (left, _) = block_info[0]["array-location"]
    if not block.any():  # what is not written reads as background, and most of a slide is that
        return np.ones((1, 1), np.bool_)
    for array in arrays:
        if array is not None:
            array[top : top + block.shape[0], left : left + block.shape[1]] = block
        block = halve_labels(block)
        top, left = top // 2, left // 2
    return np.ones((1, 1), np.bool_)


def _count(block: Labels) -> dict[int, int]:
    values, pixels = np.unique(block, return_counts=True)
    return dict(zip(values.tolist(), pixels.tolist(), strict=True))
