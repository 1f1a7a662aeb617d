"""The tile that is explained: where it may lie, its pixels, and its nuclei."""

import numpy as np

from distill.resample import resize_labels
from distill.teachers.labelled import Instances
from distill.teachers.teacher import Teacher
from pipelines.blockwise.frame import ENLARGED
from pipelines.errors import UsageError
from wsi.plan import ReadPlan, TileSpec, plan_read
from wsi.slide import Pixels, Slide
from wsi.tiles import read_tile
from wsi.tissue import Tissue


def check_place(
    dimensions: tuple[int, int], plan: ReadPlan, tissue: Tissue, *, x: int, y: int
) -> None:
    """Refuse a tile that begins outside the slide, or has no tissue.

    Parameters
    ----------
    dimensions
        (width, height) of level 0.
    x, y
        The tile's top-left corner, level-0 pixels.

    Raises
    ------
    UsageError
        With the limits.
    """
    width, height = dimensions
    if not (0 <= x < width and 0 <= y < height):
        raise UsageError(
            f"--tile {x},{y} is outside the slide: x is 0-{width - 1} and y is 0-{height - 1}, "
            "level-0 pixels of the tile's top-left corner"
        )
    down = tissue.downsample
    rows, columns = (
        slice(int(first / down), int(np.ceil((first + plan.level0_px) / down))) for first in (y, x)
    )
    if not tissue.mask[rows, columns].any():
        found_y, found_x = np.nonzero(tissue.mask)
        across, downward = (
            f"{int(at.min() * down)}-{min(int((at.max() + 1) * down), length)}"
            for at, length in ((found_x, width), (found_y, height))
        )
        raise UsageError(
            f"--tile {x},{y}: no tissue in the {plan.level0_px:.0f} level-0 pixels from there; "
            f"the slide's tissue lies within x {across} and y {downward} ('raypath view' shows "
            "the coordinates under the cursor)"
        )


def read_at(slide: Slide, spec: TileSpec, *, level0_mpp: float, x: int, y: int) -> Pixels:
    """The tile as the encoder sees it, (S, S, 3).

    Raises
    ------
    ResolutionError
        If the slide is coarser than the encoder wants.
    UnreadableRegionError
        If its bytes do not decode.
    """
    plan = plan_read(spec, level0_mpp=level0_mpp, downsamples=slide.level_downsamples)
    return read_tile(slide, spec=spec, plan=plan, x=x, y=y)


def nuclei_at(
    slide: Slide, teacher: Teacher, spec: TileSpec, *, level0_mpp: float, x: int, y: int
) -> Instances:
    """The nuclei of a tile, found at the teacher's resolution: (S, S) int32 in the tile's pixels.

    Raises
    ------
    ResolutionError
        If the slide is too coarse for the teacher.
    """
    fine = TileSpec(size_px=round(spec.size_px * spec.mpp / teacher.mpp), mpp=teacher.mpp)
    plan = plan_read(
        fine, level0_mpp=level0_mpp, downsamples=slide.level_downsamples, enlarged=ENLARGED
    )
    nuclei = teacher.segment(read_tile(slide, spec=fine, plan=plan, x=x, y=y))
    return resize_labels(nuclei, (spec.size_px, spec.size_px))
