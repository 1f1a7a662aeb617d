"""Writing a slide's pyramid: its frame first, then its parts in any order, then what is left."""

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from wsi.atomic import TMP_MARK, remove
from wsi.jpeg.copy import create_copy
from wsi.jpeg.tiles import JpegTiles
from wsi.pyramid import metadata
from wsi.pyramid.options import PyramidOptions
from wsi.pyramid.parts import Invalid, levels_a_block, write_block, write_copy, write_halvings
from wsi.pyramid.plan import Chain, CopyPart, Part, PyramidPlan, plan_pyramid
from wsi.resolution import Resolution
from wsi.slide import Slide
from wsi.tissue import Tissue


@dataclass(frozen=True, slots=True, kw_only=True)
class PyramidRecord:
    """What was written.

    Attributes
    ----------
    codec
        Of the slide's own levels: ``"jpeg"``, ``"zstd"`` or ``"blosc"``.
    level_shapes
        (height, width) of each level, finest first.
    invalid_tiles
        Chunks, of any level of the slide, that did not decode.
    """

    codec: str
    level_shapes: tuple[tuple[int, int], ...]
    invalid_tiles: int


def write_pyramid(
    slide: Slide,
    path: Path,
    *,
    name: str,
    resolution: Resolution,
    tissue: Tissue,
    tiles: JpegTiles | None = None,
    options: PyramidOptions | None = None,
    threads: int = 1,
) -> PyramidRecord:
    """Write a slide's pixels, pyramid and tissue mask to the new folder `path`, all in this call.

    The group holds arrays ``0``, ``1`` … (c, y, x) uint8; ``labels/tissue``; and ``validity``, a
    group with a (rows, columns) bool array for each of the slide's own levels, an element a chunk,
    False where the source did not decode (its pixels are 0, not white). With `tiles`, from
    `find_tiles`, the levels are the slide's own, their JPEG tiles unchanged behind the ``jpeg``
    codec: see `plan_pyramid`. Of these a level is decoded only if others are computed from it; a
    tile that is a JPEG stream and does not decode is False there, and stored as it is.

    Raises
    ------
    FileExistsError
        If there is something at `path`.
    """
    if path.exists():
        raise FileExistsError(f"{path} exists: remove it or choose another name")
    plan = plan_pyramid(slide, options or PyramidOptions(), tiles)
    begin(path, slide, plan, name=name, resolution=resolution)
    group = zarr.open_group(path, mode="r+")
    metadata.write_tissue(group, tissue, plan, level0_mpp=resolution.mpp)
    invalid: Invalid = []
    with ThreadPoolExecutor(threads) as pool:
        for part in plan.parts():
            invalid += write_part(path, part, slide, pool)
        return finish(path, plan, invalid, pool)


def begin(
    root: Path,
    slide: Slide,
    plan: PyramidPlan,
    *,
    name: str,
    resolution: Resolution,
    ours: Mapping[str, Any] | None = None,
) -> None:
    """Write everything but the slide's pixels and tissue; replaces what is at `root`.

    `ours` is added to the ``raypath`` attribute.
    """
    version = plan.options.ngff
    group = zarr.create_group(root, zarr_format=2 if version == "0.4" else 3, overwrite=True)
    for level_name, level in plan.copied.items():
        create_copy(group, level_name, level)
    for chain in plan.chains:
        levels = zip(chain.names, chain.sizes, _shard_edges(plan.options), strict=False)
        for level_name, size, shard_px in islice(levels, chain.is_source_stored, None):
            plan.storage.create(group, level_name, size, shard_px=shard_px)
    metadata.write_associated(group, slide, plan.options)
    metadata.describe(group, slide, plan, name=name, resolution=resolution, ours=ours or {})


def write_part(root: Path, part: Part, slide: Slide, pool: ThreadPoolExecutor) -> Invalid:
    """Write a part of the pyramid that `begin` began at `root`; the same bytes each time."""
    if isinstance(part, CopyPart):
        return write_copy(root, part)
    return write_block(root, part, slide, pool)


def finish(
    root: Path,
    plan: PyramidPlan,
    invalid: Iterable[tuple[str, int, int]],
    pool: ThreadPoolExecutor,
) -> PyramidRecord:
    """Write the coarse levels, which need those before them whole, and what is valid.

    What parts have left that were killed while they wrote is removed.
    """
    group = zarr.open_group(root, mode="r+")
    options = plan.options
    step = levels_a_block(options.block_px, options.chunk_px) - 1
    for whole in plan.chains:
        chain = whole
        while len(chain.names) - 1 > step:
            chain = replace(
                chain,
                source_downsample=chain.source_downsample * 2**step,
                sizes=chain.sizes[step:],
                names=chain.names[step:],
                is_source_stored=True,
            )
            _write_from_stored(root, group, plan, chain, pool)
    invalid = set(invalid)  # a copied tile may be found when it is copied and when it is decoded
    metadata.write_validity(group, plan, invalid)
    for left_over in root.rglob(f"{TMP_MARK}*"):
        remove(left_over)
    return PyramidRecord(
        codec=plan.codec,
        level_shapes=tuple((height, width) for width, height in plan.sizes),
        invalid_tiles=len(invalid),
    )


def _write_from_stored(
    root: Path, group: zarr.Group, plan: PyramidPlan, chain: Chain, pool: ThreadPoolExecutor
) -> None:
    """Halve an array that is written, block by block."""
    source: Any = group[chain.names[0]]
    edge = plan.options.block_px
    for part in plan.blocks(chain):
        row, column = part.block
        window = np.s_[:, row * edge : (row + 1) * edge, column * edge : (column + 1) * edge]
        pixels = np.asarray(source[window])
        write_halvings(root, plan.storage, chain, pixels, part.block, block_px=edge, pool=pool)


def _shard_edges(options: PyramidOptions) -> Iterator[int]:
    """Edge of a shard in each level of a chain: a block of a pass, halved down to a chunk.

    The next pass begins with the last level of the one before, whose halving comes first in it.
    """
    yield options.block_px
    while True:
        edge = options.block_px
        while edge > options.chunk_px:
            edge //= 2
            yield edge
