"""The pyramid: a slide's pixels in one go, or those of a large slide that are decoded in parts."""

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import zarr

from pipelines.blockwise.work import BlockPlan, BlockWork
from pipelines.labels import carry_labels
from pipelines.runfolder import IMAGE_NAME
from pipelines.settings.config import RunConfig
from pipelines.steps.opened import Opened
from wsi.atomic import publish, remove, replacing
from wsi.cpus import usable_cpus
from wsi.jpeg.find import find_tiles
from wsi.jpeg.tiles import JpegTiles
from wsi.lazy import borrowed
from wsi.pyramid import write
from wsi.pyramid.metadata import write_tissue
from wsi.pyramid.options import PyramidOptions
from wsi.pyramid.parts import Invalid
from wsi.pyramid.plan import Part, PyramidPlan, plan_pyramid

# Blocks of 4096 pixels that one worker decodes in the time others need to join in. What is only
# copied is limited by the storage, and never handed out for its own sake.
DECODED_ALONE = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class PyramidWork(BlockWork[Part]):
    """A pyramid that is laid out in the folder, for its parts to be written."""

    step = "pyramid"

    @property
    def image(self) -> Path:
        """The unfinished pyramid."""
        return self.folder / IMAGE_NAME

    def path(self, block: Part) -> Path:
        """The note that a part is whole, with what of it did not decode."""
        return self.folder / f"{block.part_id}.json"

    def make(self, block: Part) -> None:
        """Write a part."""
        with borrowed(self.ref) as slide, ThreadPoolExecutor(usable_cpus()) as pool:
            invalid = write.write_part(self.image, block, slide, pool)
        with replacing(self.path(block)) as tmp:
            tmp.write_text(json.dumps(invalid))

    def invalid(self, block: Part) -> Invalid:
        """The chunks of a part that did not decode."""
        stored = json.loads(self.path(block).read_text())
        return [(name, row, column) for name, row, column in stored]


ImagePlan = BlockPlan[PyramidWork, Part]


def plan_image(opened: Opened) -> ImagePlan:
    """Name the parts of a pyramid; where they are to be shared, lay it out for them.

    There are none if the slide is small, or all of it is copied: it is written in one go then.
    """
    parameters = pyramid_parameters(opened.config)
    tissue = opened.look.tissue
    mask = hashlib.sha256(tissue.mask.tobytes()).hexdigest()
    folder = opened.blocks_folder(PyramidWork.step, parameters | {"tissue": mask})
    work = PyramidWork(ref=opened.ref, parameters=parameters, folder=folder)
    plan = _plan(opened)
    if sum(1 for chain in plan.chains for _ in plan.blocks(chain)) <= DECODED_ALONE:
        return BlockPlan(work=work, blocks=())
    if not work.image.exists():
        # Notes without it are of one that was moved to its place before the run was killed.
        remove(work.folder)
        with replacing(work.image) as tmp:
            resolution = opened.look.resolution
            write.begin(tmp, opened.slide, plan, name=opened.ref.slide_id, resolution=resolution)
            group = zarr.open_group(tmp, mode="r+")
            write_tissue(group, tissue, plan, level0_mpp=resolution.mpp)
    return BlockPlan(work=work, blocks=tuple(plan.parts()))


def write_image(opened: Opened) -> dict[str, Any]:
    """Write the pyramid, or what parts of it are not written yet; returns what did not decode."""
    path, plan = opened.folder / IMAGE_NAME, plan_image(opened)
    if not plan.blocks:
        with replacing(path) as tmp:
            written = write.write_pyramid(
                opened.slide,
                tmp,
                name=opened.ref.slide_id,
                resolution=opened.look.resolution,
                tissue=opened.look.tissue,
                tiles=_tiles(opened),
                options=PyramidOptions(codec=opened.config.codec),
            )
            carry_labels(path, tmp)
        return {"invalid_tiles": written.invalid_tiles}
    work = plan.work
    for part in plan.blocks:
        work.do(part)
    invalid = [place for part in plan.blocks for place in work.invalid(part)]
    with ThreadPoolExecutor(usable_cpus()) as pool:
        written = write.finish(work.image, _plan(opened), invalid, pool)
    carry_labels(path, work.image)
    publish(work.image, path)
    return {"invalid_tiles": written.invalid_tiles}


def pyramid_parameters(config: RunConfig) -> dict[str, Any]:
    """What a pyramid depends on besides slide and tissue."""
    return {"codec": config.codec}


def _plan(opened: Opened) -> PyramidPlan:
    options = PyramidOptions(codec=opened.config.codec)
    return plan_pyramid(opened.slide, options, _tiles(opened))


def _tiles(opened: Opened) -> JpegTiles | None:
    is_kept = opened.config.codec == "auto"
    return find_tiles(opened.ref.path, opened.slide) if is_kept else None
