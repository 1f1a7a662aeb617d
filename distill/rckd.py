"""Response-based cross-task knowledge distillation (RCKD), in its simplest honest form.

A teacher that segments nuclei looks at unlabelled tissue; a student learns to predict the
teacher's responses: soft nuclei map and distance maps. The student's encoder is what is kept.

After Kim, Kwak, Chang, Kim and Kim, Bioengineering 10(11):1279, 2023. The paper's loss and
schedule are not reproduced here, so this is an RCKD-style pretraining.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from distill import augment
from distill.encoders import create_backbone, normalise
from distill.losses import fidelity, nuclei_loss
from distill.nuclei_net import OUTPUT_STRIDE, NucleiNet
from distill.targets import nuclei_maps, reduce_maps
from distill.train import Batch, Schedule, train
from wsi.slide import Pixels

CROP_PX = 128
HELD_OUT = 0.1  # share of the tiles kept back to measure the student's fidelity
RESPONSE_BATCH = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """A trained network with its loss by step and its measures on held-out tiles."""

    net: NucleiNet
    history: list[float]
    held_out: dict[str, float]


def train_teacher(
    pixels: Pixels,
    instances: NDArray[np.integer],
    *,
    architecture: str,
    schedule: Schedule,
    batch_size: int = 16,
    seed: int = 0,
    report: Callable[[int, float], None] | None = None,
) -> Trained:
    """Train a nuclei teacher on labelled tiles.

    Parameters
    ----------
    pixels, instances
        (N, S, S, 3) uint8 tiles and (N, S, S) nuclei labels, 0 for background; S a multiple of
        32, at least `CROP_PX`.
    architecture
        A timm network.
    """
    maps = np.stack([reduce_maps(nuclei_maps(i), OUTPUT_STRIDE) for i in instances])
    return _fit(pixels, torch.from_numpy(maps), architecture, schedule, batch_size, seed, report)


def distil(
    pixels: Pixels,
    teacher: NucleiNet,
    *,
    architecture: str,
    schedule: Schedule,
    batch_size: int = 16,
    seed: int = 0,
    report: Callable[[int, float], None] | None = None,
) -> Trained:
    """Pretrain a student on the teacher's responses to unlabelled tiles.

    The teacher sees each clean tile once, before training; the student sees crops of it, turned,
    flipped and with varied stain.

    Parameters
    ----------
    pixels
        (N, S, S, 3) uint8 tiles, S a multiple of 32, at least `CROP_PX`.
    """
    responses = respond(teacher, pixels)
    return _fit(pixels, responses, architecture, schedule, batch_size, seed, report)


def respond(teacher: NucleiNet, pixels: Pixels) -> Tensor:
    """The teacher's responses to (N, S, S, 3) tiles: (N, 3, S/2, S/2) float16."""
    teacher.eval()
    tiles = torch.from_numpy(pixels)
    parts = [teacher.respond(normalise(part)).half() for part in torch.split(tiles, RESPONSE_BATCH)]
    return torch.cat(parts)


def _fit(
    pixels: Pixels,
    maps: Tensor,
    architecture: str,
    schedule: Schedule,
    batch_size: int,
    seed: int,
    report: Callable[[int, float], None] | None,
) -> Trained:
    generator = Generator().manual_seed(seed)
    tiles = torch.from_numpy(pixels)
    order = torch.randperm(len(tiles), generator=generator)
    back = max(1, round(HELD_OUT * len(tiles)))
    held_out, kept = order[:back], order[back:]
    batches = _batches(tiles[kept], maps[kept], batch_size, generator)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # for the decoder's weights, and dropout where a network has it
        net = NucleiNet(create_backbone(architecture, seed=seed))
        net = net.to(memory_format=torch.channels_last)
        history = train(net, batches, nuclei_loss, schedule, report=report)
    with torch.inference_mode():
        predicted = torch.cat(
            [net(normalise(t)) for t in torch.split(tiles[held_out], RESPONSE_BATCH)]
        )
    return Trained(net=net, history=history, held_out=fidelity(predicted, maps[held_out].float()))


def _batches(pixels: Tensor, maps: Tensor, size: int, generator: Generator) -> Iterator[Batch]:
    """Augmented crops without end, every tile once before any comes again."""
    while True:
        for chosen in torch.split(torch.randperm(len(pixels), generator=generator), size):
            if len(chosen) < min(2, size, len(pixels)):  # statistics of one tile are poor
                continue
            crop, target = augment.random_crop(
                pixels[chosen], maps[chosen], CROP_PX, OUTPUT_STRIDE, generator
            )
            crop, target = augment.random_geometry(crop, target.float(), generator)
            yield normalise(augment.jitter_stain(crop, generator)), target
