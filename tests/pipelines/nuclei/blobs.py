"""A teacher made by hand, which sees dark blobs, and slides full of them."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from distill.teachers.teacher import Teacher
from pipelines.blockwise.frame import Block, BlockFrame, blocks_on_tissue, lay_frame
from pipelines.nuclei.block import FoundNuclei, find_nuclei
from pipelines.nuclei.merge import merge_blocks
from wsi.slide import Pixels, Slide
from wsi.tissue import Tissue

GLASS_GREY, NUCLEUS_GREY = 225, 60
MPP = 0.25


class DarkBlobs(nn.Module):
    """Nuclei are what is darker than mid-grey; distances are how darkness falls off around."""

    def __init__(self) -> None:
        super().__init__()
        at = torch.arange(-15, 16).float()
        bell = torch.exp(-(at**2) / (2 * 5.0**2))
        slope = at * bell
        self.bell, self.slope = bell / bell.sum(), slope / slope.abs().sum()

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) normalised pixels to nuclei logit, horizontal, vertical."""
        dark = -x.mean(1, keepdim=True)
        inside = torch.sigmoid(4 * dark)
        padded = nn.functional.pad(inside, (15, 15, 15, 15), mode="replicate")
        across = nn.functional.conv2d(padded, torch.outer(self.bell, self.slope)[None, None])
        down = nn.functional.conv2d(padded, torch.outer(self.slope, self.bell)[None, None])
        return torch.cat([4 * dark, -2 * across, -2 * down], 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Blobs:
    """Pixels (H, W, 3), and the centres (N, 2) of the nuclei in them, x and y."""

    pixels: Pixels
    centres: NDArray[np.float64]


def draw_blobs(width: int, height: int, *, seed: int = 0, step: int = 26) -> Blobs:
    """Ellipses on a jittered lattice, near enough for some to touch."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    dark = np.zeros((height, width), bool)
    centres = []
    for row in range(step, height - step, step):
        for column in range(step, width - step, step):
            cx, cy = column + rng.uniform(-4, 4), row + rng.uniform(-4, 4)
            a, b, turn = rng.uniform(7, 11), rng.uniform(6, 9), rng.uniform(0, np.pi)
            box = np.s_[row - step : row + step, column - step : column + step]
            u, v = x[box] + 0.5 - cx, y[box] + 0.5 - cy
            along, beside = u * np.cos(turn) + v * np.sin(turn), v * np.cos(turn) - u * np.sin(turn)
            dark[box] |= (along / a) ** 2 + (beside / b) ** 2 < 1
            centres.append((cx, cy))
    grey = np.where(dark, NUCLEUS_GREY, GLASS_GREY) + rng.normal(0, 4, dark.shape)
    tint = np.where(dark[..., None], (0, -20, 30), (0, -25, 0))  # nuclei blue, the rest pink
    pixels = np.clip(grey[..., None] + tint, 0, 255).astype(np.uint8)
    return Blobs(pixels=pixels, centres=np.array(centres))


@dataclass(frozen=True, slots=True, kw_only=True)
class Joined:
    """What came out of a slide: its frame, and a row for each nucleus."""

    frame: BlockFrame
    rows: list[dict[str, Any]]
    found: dict[Block, FoundNuclei]


def everywhere(slide: Slide) -> Tissue:
    """All of a slide is tissue."""
    width, height = slide.dimensions
    return Tissue(mask=np.ones((-(-height // 16), -(-width // 16)), bool), downsample=16.0)


def search(
    slide: Slide, teacher: Teacher, core_px: int, *, mpp: float = MPP, tissue: Tissue | None = None
) -> Joined:
    """Look for nuclei in blocks of a size, and join them."""
    frame = lay_frame(slide, level0_mpp=mpp, network_mpp=teacher.mpp, core_px=core_px)
    tissue = tissue or everywhere(slide)
    blocks = blocks_on_tissue(frame, tissue)
    found = {block: find_nuclei(slide, frame, block, teacher) for block in blocks}
    rows = [
        row
        for _, table in merge_blocks(frame, blocks, found.__getitem__, tissue)
        for row in table.to_pylist()
    ]
    return Joined(frame=frame, rows=rows, found=found)
