"""The region probe: a fresh light decoder gives every pixel a class from what the encoder sees."""

from collections.abc import Iterator
from copy import deepcopy

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor, nn
from torch.nn import functional

from distill.downstream.nuclei_probe import FrozenBackbone, Segmenting
from distill.downstream.regions import RegionImage
from distill.downstream.view import STRIDE_PX, resample
from distill.encoders import Encoder, PooledFeatures, normalise
from distill.errors import ModelError
from distill.nuclei_net import DECODER_CHANNELS, OUTPUT_STRIDE, NucleiNet
from distill.train import Batch, Schedule, train
from distill.views import vary_stain

Classes = NDArray[np.uint8]


def segment_regions(
    encoder: Encoder,
    learn_from: list[RegionImage],
    asked: list[RegionImage],
    settings: Segmenting,
    *,
    n_classes: int,
    seed: int = 0,
) -> list[NDArray[np.int64]]:
    """Train a decoder of regions on some images and measure it on others.

    Images are brought to the encoder's mpp first.

    Returns
    -------
    For each image asked for, its pixels at the decoder's stride by true and given class: (C, C).

    Raises
    ------
    ModelError
        If the encoder is not a timm network, whose inner features the decoder needs.
    """
    if not isinstance(encoder.module, PooledFeatures):
        raise ModelError(f"{encoder.identifier} has no feature maps to segment regions with")
    generator = Generator().manual_seed(seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)  # for the decoder's weights
        fresh = NucleiNet(deepcopy(encoder.module.backbone))
        fresh.head = nn.Conv2d(DECODER_CHANNELS, n_classes, 1)
        net = FrozenBackbone(fresh) if settings.mode == "frozen" else fresh
        net = net.to(settings.device).to(memory_format=torch.channels_last)
        samples = [_at(image, encoder.spec.mpp, settings.crop_px) for image in learn_from]
        batches = _batches(encoder, samples, settings, generator)
        schedule = Schedule(steps=settings.steps, learning_rate=settings.learning_rate)
        train(net, batches, functional.cross_entropy, schedule, bfloat16=settings.bfloat16)
    return [_measure(net, encoder, image, settings, n_classes) for image in asked]


def _at(image: RegionImage, mpp: float, smallest_px: int) -> tuple[NDArray[np.uint8], Classes]:
    """Pixels (H, W, 3) at `mpp` and their classes (H, W); sides are multiples of 32.

    What is left over at the right and the bottom is mirrored.
    """
    factor = image.mpp / mpp
    pixels = resample(image.pixels, factor)
    rows, columns = (
        np.minimum(((np.arange(n) + 0.5) / factor).astype(int), limit - 1)
        for n, limit in zip(pixels.shape[:2], image.regions.shape, strict=True)
    )
    regions = image.regions[rows[:, None], columns]
    wanted = [max(smallest_px, -(-n // STRIDE_PX) * STRIDE_PX) for n in regions.shape]
    around = [(0, w - n) for w, n in zip(wanted, regions.shape, strict=True)]
    return (
        np.pad(pixels, (*around, (0, 0)), mode="symmetric"),
        np.pad(regions, around, mode="symmetric"),
    )


def _batches(
    encoder: Encoder,
    samples: list[tuple[NDArray[np.uint8], Classes]],
    settings: Segmenting,
    generator: Generator,
) -> Iterator[Batch]:
    """Crops of any place, turned, mirrored and with varied stain, without end."""
    while True:
        chosen = torch.randint(len(samples), (settings.batch_size,), generator=generator)
        crops, targets = [], []
        for index in chosen.tolist():
            top, left, turns, mirrored = (
                int(torch.randint(room, (), generator=generator))
                for room in (
                    *(n - settings.crop_px + 1 for n in samples[index][1].shape),
                    4,
                    2,
                )
            )
            part = np.s_[top : top + settings.crop_px, left : left + settings.crop_px]
            crop, regions = (np.rot90(of[part], turns) for of in samples[index])
            if mirrored:
                crop, regions = crop[:, ::-1], regions[:, ::-1]
            crops.append(torch.from_numpy(crop.copy()))
            targets.append(torch.from_numpy(_reduced(regions).astype(np.int64)))
        coloured = vary_stain(torch.stack(crops).permute(0, 3, 1, 2).float(), generator)
        inputs = normalise(coloured.permute(0, 2, 3, 1), mean=encoder.mean, std=encoder.std)
        yield inputs.to(settings.device), torch.stack(targets).to(settings.device)


def _reduced(regions: Classes) -> Classes:
    """The class at one pixel of each that the decoder answers for together."""
    return regions[::OUTPUT_STRIDE, ::OUTPUT_STRIDE]


@torch.inference_mode()
def _measure(
    net: nn.Module, encoder: Encoder, image: RegionImage, settings: Segmenting, n_classes: int
) -> NDArray[np.int64]:
    net.eval()
    pixels, regions = _at(image, encoder.spec.mpp, settings.crop_px)
    inputs = normalise(torch.from_numpy(pixels)[None], mean=encoder.mean, std=encoder.std)
    answer: Tensor = net(inputs.to(settings.device))[0]
    factor = image.mpp / encoder.spec.mpp / OUTPUT_STRIDE
    inside = tuple(slice(int(n * factor)) for n in image.regions.shape)  # not what was mirrored
    given = answer.argmax(0).cpu().numpy()[inside]
    pairs = _reduced(regions)[inside].astype(np.int64) * n_classes + given
    return np.bincount(pairs.ravel(), minlength=n_classes**2).reshape(n_classes, n_classes)
