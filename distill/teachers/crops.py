"""Training crops: turned, scaled, bent and recoloured, each decided by its number alone.

Crop number i is the same whoever makes it and whenever, so a training that was killed goes on
with the crops it would have seen, whatever the number of worker processes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional
from torch.utils.data import Dataset

from distill.encoders import IMAGENET_MEAN, IMAGENET_STD, normalise
from distill.targets import nuclei_maps, number_parts
from distill.teachers.colour import vary_colour
from wsi.slide import Pixels

Sample = tuple[Pixels, NDArray[np.int32]]  # an image (H, W, 3) and its labels (H, W)
SCALE = (0.65, 1.5)  # about what differs between laboratories, organs and stated resolutions
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

    scale: tuple[float, float] = SCALE
    stretch: float = 0.1
    bend_px: float = 3.0
    bend_step_px: int = 64


class Crops(Dataset[tuple[Tensor, Tensor]]):
    """Random crops of labelled images as (normalised pixels, target) pairs.

    Pixels are (3, S, S). The target is computed after the geometry, on the labels as they lie in
    the crop, which is exact. Each pixel of the images is seen equally often, or as `weights` say.

    Parameters
    ----------
    images
        What to cut from, with the labels of each.
    target
        Makes a crop's target of its (S, S) labels: `target_of` for nuclei.
    size_px
        Edge of a crop, a multiple of 32.
    count, first
        How many crops there are, and the number of the first.
    seed
        Decides all of them.
    colour
        Strength of `vary_colour`.
    weights
        How often crops are cut from each image, relative to the others; by default its area.
    mean, std
        Normalisation of pixels in 0-1, by channel.
    """

    def __init__(
        self,
        images: Sequence[Sample],
        target: Callable[[NDArray[np.int32]], NDArray[Any]],
        *,
        size_px: int,
        count: int,
        first: int = 0,
        seed: int = 0,
        geometry: Geometry | None = None,
        colour: float = 1.0,
        weights: Sequence[float] | None = None,
        mean: tuple[float, float, float] = IMAGENET_MEAN,
        std: tuple[float, float, float] = IMAGENET_STD,
    ) -> None:
        # Tensors are shared with worker processes, not copied to them.
        self.pixels = [torch.from_numpy(pixels).permute(2, 0, 1) for pixels, _ in images]
        self.labels = [torch.from_numpy(labels)[None] for _, labels in images]
        given = [labels.size for _, labels in images] if weights is None else weights
        self.weights = np.asarray(given, np.float64) / np.sum(given)
        self.target, self.mean, self.std = target, mean, std
        self.size_px, self.count, self.first, self.seed = size_px, count, first, seed
        self.geometry, self.colour = geometry or Geometry(), colour

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """Crop number `first + index`."""
        if not 0 <= index < self.count:
            raise IndexError(f"crop {index} of {self.count}")
        rng = np.random.default_rng((self.seed, self.first + index))
        chosen = int(rng.choice(len(self.weights), p=self.weights))
        height, width = self.labels[chosen].shape[1:]
        grid = _sampling_grid(height, width, self.size_px, self.geometry, rng)
        pixels = _sample(self.pixels[chosen], grid, "bilinear").permute(1, 2, 0)
        crop = pixels.round().clamp(0, 255).byte().numpy()
        crop = vary_colour(crop, rng, strength=self.colour)
        labels = _sample(self.labels[chosen], grid, "nearest")[0]
        target = self.target(labels.numpy().astype(np.int32))
        seen = normalise(torch.from_numpy(crop)[None], mean=self.mean, std=self.std)
        return seen[0], torch.from_numpy(target)


def target_of(instances: NDArray[np.int32]) -> NDArray[np.float32]:
    """The (4, H, W) target of nuclei, numbered or `UNKNOWN`.

    Nuclei map, horizontal and vertical distance, and where the distances are known.
    """
    parts = number_parts(np.maximum(instances, 0))
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
