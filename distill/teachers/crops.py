"""Training crops: turned, scaled, bent and recoloured, each decided by its number alone.

Crop number i is the same whoever makes it and whenever, so a training that was killed goes on
with the crops it would have seen, whatever the number of worker processes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from skimage.measure import label
from torch import Tensor
from torch.nn import functional
from torch.utils.data import Dataset

from distill.encoders import normalise
from distill.targets import nuclei_maps
from distill.teachers.colour import vary_colour
from distill.teachers.labelled import Labelled

LEAST_PX = 20  # smaller remainders of a nucleus at the crop's edge say nothing of its centre


@dataclass(frozen=True, slots=True, kw_only=True)
class Geometry:
    """How far crops are turned, scaled and bent.

    Attributes
    ----------
    scale
        Least and greatest size of what is seen relative to the image.
    stretch
        Greatest relative difference of the two axes.
    bend_px, bend_step_px
        Standard deviation of the displacements of a grid, and its step; in between, smooth.
    """

    scale: tuple[float, float] = (0.65, 1.5)
    stretch: float = 0.1
    bend_px: float = 3.0
    bend_step_px: int = 64


class Crops(Dataset[tuple[Tensor, Tensor]]):
    """Random crops of labelled images as (normalised pixels, target) pairs.

    Pixels are (3, S, S). The target is (4, S, S): nuclei map, horizontal and vertical distance,
    and where the distances are known. The maps are computed after the geometry, on the labels as
    they lie in the crop, which is exact. Each pixel of the images is seen equally often.

    Parameters
    ----------
    images
        What to cut from.
    size_px
        Edge of a crop, a multiple of 32.
    count, first
        How many crops there are, and the number of the first.
    seed
        Decides all of them.
    """

    def __init__(
        self,
        images: Sequence[Labelled],
        *,
        size_px: int,
        count: int,
        first: int = 0,
        seed: int = 0,
        geometry: Geometry | None = None,
    ) -> None:
        # Tensors are shared with worker processes, not copied to them.
        self.pixels = [torch.from_numpy(image.pixels).permute(2, 0, 1) for image in images]
        self.instances = [torch.from_numpy(image.instances)[None] for image in images]
        areas = np.array([image.instances.size for image in images], np.float64)
        self.weights = areas / areas.sum()
        self.size_px, self.count, self.first, self.seed = size_px, count, first, seed
        self.geometry = geometry or Geometry()

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """Crop number `first + index`."""
        if not 0 <= index < self.count:
            raise IndexError(f"crop {index} of {self.count}")
        rng = np.random.default_rng((self.seed, self.first + index))
        chosen = int(rng.choice(len(self.weights), p=self.weights))
        height, width = self.instances[chosen].shape[1:]
        grid = _sampling_grid(height, width, self.size_px, self.geometry, rng)
        pixels = _sample(self.pixels[chosen], grid, "bilinear").permute(1, 2, 0)
        crop = vary_colour(pixels.round().clamp(0, 255).byte().numpy(), rng)
        instances = _sample(self.instances[chosen], grid, "nearest")[0]
        target = target_of(instances.numpy().astype(np.int32))
        return normalise(torch.from_numpy(crop)[None])[0], torch.from_numpy(target)


def target_of(instances: NDArray[np.int32]) -> NDArray[np.float32]:
    """The (4, H, W) target of labels that may hold `UNKNOWN`."""
    # Reflection and bending can tear a nucleus: each part has its own centre.
    parts = label(np.maximum(instances, 0), connectivity=1)  # type: ignore[no-untyped-call]
    parts[(np.bincount(parts.ravel()) < LEAST_PX)[parts]] = 0
    maps = nuclei_maps(parts)
    known = maps[:1].copy()
    maps[0] = instances != 0
    return np.concatenate([maps, known])


def _sampling_grid(
    height: int, width: int, size_px: int, geometry: Geometry, rng: Generator
) -> NDArray[np.float32]:
    """Where in the image, (S, S, 2) pixel coordinates (x, y), each pixel of a crop is taken."""
    scale = np.exp(rng.uniform(*np.log(geometry.scale)))
    stretch = np.exp(rng.uniform(-geometry.stretch, geometry.stretch) / 2)
    angle = rng.uniform(0, 2 * np.pi)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    mirror = np.diag([rng.choice([-1.0, 1.0]), 1.0])
    matrix = turn @ mirror @ np.diag([stretch, 1 / stretch]) / scale
    middle = np.array([rng.uniform(0, width), rng.uniform(0, height)])
    offset = np.arange(size_px) - (size_px - 1) / 2
    square = np.stack(np.meshgrid(offset, offset), axis=-1) + _bend(size_px, geometry, rng)
    return np.asarray(square @ matrix.T + middle, np.float32)


def _bend(size_px: int, geometry: Geometry, rng: Generator) -> NDArray[np.float64]:
    """Smooth random displacements, (S, S, 2)."""
    nodes = size_px // geometry.bend_step_px + 1
    coarse = torch.from_numpy(rng.normal(0, geometry.bend_px, (1, 2, nodes, nodes)))
    fine = functional.interpolate(coarse, size=size_px, mode="bicubic", align_corners=True)
    return fine[0].permute(1, 2, 0).numpy()


def _sample(image: Tensor, grid: NDArray[np.float32], mode: str) -> Tensor:
    """Take (C, H, W) at (S, S, 2) pixel coordinates, mirrored beyond the edges: (C, S, S)."""
    height, width = image.shape[1:]
    x, y = _mirror(grid[..., 0], width), _mirror(grid[..., 1], height)
    left, top = int(x.min()), int(y.min())
    part = image[:, top : int(y.max()) + 2, left : int(x.max()) + 2].float()
    low, span = (left, top), np.maximum((part.shape[2] - 1, part.shape[1] - 1), 1)
    relative = torch.from_numpy((np.stack([x, y], axis=-1) - low) * 2 / span - 1).float()
    taken = functional.grid_sample(
        part[None], relative[None], mode=mode, padding_mode="border", align_corners=True
    )
    return taken[0]


def _mirror(at: NDArray[np.float32], length: int) -> NDArray[np.float32]:
    """Fold coordinates back into 0 to length − 1."""
    if at.min() >= 0 and at.max() <= length - 1:
        return at
    period = 2 * (length - 1)
    folded = np.abs(at) % max(period, 1)
    return np.asarray(np.minimum(folded, period - folded), np.float32)
