"""The region probe: a fresh light decoder gives every pixel a class from what the encoder sees."""

from collections.abc import Iterator
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor, nn
from torch.nn import functional

from distill.downstream.decoder_probe import Segmenting, at_scale, mirrored, train_decoder
from distill.downstream.regions import RegionImage
from distill.downstream.view import stained
from distill.encoders import Encoder, normalise
from distill.nuclei_net import OUTPUT_STRIDE
from distill.train import Batch

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
    samples = [_at(image, encoder.spec.mpp, settings.crop_px) for image in learn_from]
    batches = partial(_batches, encoder, samples, settings)
    loss = functional.cross_entropy
    net = train_decoder(encoder, batches, loss, settings, outputs=n_classes, seed=seed)
    return [_measure(net, encoder, image, settings, n_classes) for image in asked]


def _at(image: RegionImage, mpp: float, smallest_px: int) -> tuple[NDArray[np.uint8], Classes]:
    """Pixels (H, W, 3) at `mpp` and their classes (H, W); sides are multiples of 32.

    What is left over at the right and the bottom is mirrored.
    """
    pixels, regions = at_scale(image.pixels, image.regions, image.mpp / mpp)
    return mirrored(pixels, smallest_px), mirrored(regions, smallest_px)


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
            top, left, turns, flipped = (
                int(torch.randint(room, (), generator=generator))
                for room in (
                    *(n - settings.crop_px + 1 for n in samples[index][1].shape),
                    4,
                    2,
                )
            )
            part = np.s_[top : top + settings.crop_px, left : left + settings.crop_px]
            crop, regions = (np.rot90(of[part], turns) for of in samples[index])
            if flipped:
                crop, regions = crop[:, ::-1], regions[:, ::-1]
            crops.append(torch.from_numpy(crop.copy()))
            targets.append(torch.from_numpy(_reduced(regions).astype(np.int64)))
        inputs = stained(torch.stack(crops), encoder, generator)
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
