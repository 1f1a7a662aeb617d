"""What the pretraining loop needs of a method, and the methods by name."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor, nn

from distill import augment, views
from distill.collapse import measure_spread
from distill.encoders import normalise
from distill.errors import ModelError
from distill.fidelity import measure_fidelity
from distill.nuclei_net import OUTPUT_STRIDE, NucleiNet
from distill.objectives.barlow import BarlowTwins, barlow_loss
from distill.objectives.moco import MomentumContrast, info_nce, queue_length
from distill.objectives.response_loss import ResponseLoss
from distill.pooling import PooledFeatures
from distill.student_net import StudentNet
from distill.tileset import TileSet
from distill.train import Batch

Index = NDArray[np.int64]
# How much colour is varied unless said otherwise: views of a tile would be matched by it.
COLOUR = {"barlow": 1.0, "moco": 1.0, "rckd": 0.0, "supervised-nuclei": 0.0, "random": 0.0}
OBJECTIVES = ("rckd", "supervised-nuclei", "barlow", "moco", "random")


class Maps(Protocol):
    """Nuclei maps of tiles at `OUTPUT_STRIDE`, by number."""

    def read(self, index: Index) -> NDArray[np.float32]:
        """(B, 8, S/2, S/2) probability, distances and appearance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """A pretraining method applied to an encoder and a set of tiles.

    Attributes
    ----------
    model
        What is trained; the encoder is a part of it.
    draw
        Tiles by number to a batch, augmented; called from a thread.
    loss
        Of the model's output and the batch's target.
    measure
        What can be said of the model, or of its averaged copy, on held-out tiles, by number.
    """

    model: nn.Module
    draw: Callable[[Index, Generator], Batch]
    loss: Callable[[Tensor, Tensor], Tensor]
    measure: Callable[[nn.Module, Index], dict[str, float]]


def predict_nuclei(
    backbone: nn.Module,
    tiles: TileSet,
    maps: Maps,
    *,
    crop_px: int,
    loss: ResponseLoss | None = None,
    colour: float = 0.0,
) -> Objective:
    """RCKD with a teacher's responses as the maps; supervised learning with labels as the maps.

    `colour` is how much stain and light are varied: see `distill.views.vary_colour`. The appearance
    that is taught is that of the tile as it is: a student shown another stain would have to ignore
    stain, which is half of what tells nuclei apart.
    """
    loss = loss or ResponseLoss()
    net = StudentNet(backbone) if loss.appearance else NucleiNet(backbone)

    def draw(index: Index, generator: Generator) -> Batch:
        pixels = torch.from_numpy(tiles.pixels[index])
        crop, target = augment.random_crop(
            pixels, torch.from_numpy(maps.read(index)), crop_px, OUTPUT_STRIDE, generator
        )
        crop, target = augment.random_geometry(crop, target, generator)
        varied = views.vary_colour(crop.permute(0, 3, 1, 2).float(), generator, strength=colour)
        return normalise(varied.permute(0, 2, 3, 1)), target

    def measure(model: nn.Module, index: Index) -> dict[str, float]:
        found = measure_fidelity(model, tiles.pixels[index], maps.read(index)[:, :3])
        # What was not taught says nothing; nuclei are counted by their distances.
        return found if loss.distances else {"dice": found["dice"]}

    return Objective(model=net, draw=draw, loss=loss, measure=measure)


def match_views(
    backbone: nn.Module,
    tiles: TileSet,
    *,
    method: str,
    crop_px: int,
    count: int,
    colour: float = 1.0,
) -> Objective:
    """Self-supervision, ``"barlow"`` or ``"moco"``; `colour` as for `predict_nuclei`.

    `count` is how many of the tiles are trained on.
    """
    encoder = PooledFeatures(backbone)
    dim = int(backbone.num_features)  # type: ignore[arg-type]
    loss: Callable[[Tensor], Tensor]
    if method == "barlow":
        model: nn.Module = BarlowTwins(encoder, dim=dim)
        loss = barlow_loss
    elif method == "moco":
        model = MomentumContrast(encoder, dim=dim, queue=queue_length(count))
        loss = info_nce
    else:
        raise ModelError(f"no way to match views is called {method!r}: known are barlow, moco")

    def draw(index: Index, generator: Generator) -> Batch:
        pixels = torch.from_numpy(tiles.pixels[index])
        both = views.two_views(pixels, crop_px, generator, strength=colour)
        return normalise(both.permute(0, 2, 3, 1)), torch.empty(0)  # the views are the target

    def measure(model: nn.Module, index: Index) -> dict[str, float]:
        return measure_spread(model.encoder, tiles.pixels[index])  # type: ignore[arg-type]

    return Objective(model=model, draw=draw, loss=lambda answer, _: loss(answer), measure=measure)
