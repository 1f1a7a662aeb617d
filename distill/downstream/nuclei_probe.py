"""The segmentation probe: a fresh light decoder finds nuclei in what the encoder sees."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Generator, Tensor, nn

from distill.augment import random_crop, random_geometry
from distill.double import double
from distill.downstream.decoder_probe import Segmenting, at_scale, mirrored, train_decoder
from distill.downstream.view import stained
from distill.encoders import Encoder, normalise
from distill.errors import LabelledDataError
from distill.losses import nuclei_loss
from distill.metrics import score
from distill.nuclei_net import OUTPUT_STRIDE, responses_of
from distill.targets import nuclei_maps, number_parts, reduce_maps
from distill.teachers.labelled import Instances, Labelled
from distill.teachers.postprocess import Thresholds, separate
from distill.train import Batch


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlap:
    """Pixels of an image at the network's output: called nucleus, nucleus in truth, both.

    Dice is 2 × `both` / (`predicted` + `actual`). `aji` is of the nuclei told apart at the
    encoder's resolution, NaN where there are none and none was found.
    """

    predicted: int
    actual: int
    both: int
    aji: float


def segment(
    encoder: Encoder,
    learn_from: list[Labelled],
    asked: list[Labelled],
    settings: Segmenting,
    *,
    seed: int = 0,
) -> list[Overlap]:
    """Train a decoder of nuclei on some images and measure it on others.

    Images are brought to the encoder's mpp first.

    Raises
    ------
    LabelledDataError
        If an image does not say its mpp, or not all of its nuclei are told apart.
    ModelError
        If the encoder is not a timm network, whose inner features the decoder needs.
    """
    samples = [_at(image, encoder.spec.mpp, settings.crop_px)[:2] for image in learn_from]
    batches = partial(_batches, encoder, samples, settings)
    net = train_decoder(encoder, batches, nuclei_loss, settings, seed=seed)
    return [_measure(net, encoder, image, settings) for image in asked]


def _at(image: Labelled, mpp: float, smallest_px: int) -> tuple[Tensor, Tensor, Instances]:
    """Pixels (H, W, 3) at `mpp`, their maps (3, H/2, W/2), and nuclei; sides are multiples of 32.

    What is left over at the right and the bottom, less than 32 pixels, is mirrored.
    """
    if not image.complete:
        raise LabelledDataError(
            f"{image.name}: of some nuclei only the pixels are labelled, not which is whose: leave "
            "the image out"
        )
    pixels, instances = at_scale(image.pixels, image.instances, _mpp(image) / mpp)
    maps = nuclei_maps(number_parts(mirrored(instances, smallest_px)))
    reduced = torch.from_numpy(reduce_maps(maps, OUTPUT_STRIDE))
    return torch.from_numpy(mirrored(pixels, smallest_px)), reduced, instances


def _mpp(image: Labelled) -> float:
    if image.mpp is None:
        raise LabelledDataError(f"{image.name}: its resolution is not known, in µm per pixel")
    return image.mpp


def _batches(
    encoder: Encoder,
    samples: list[tuple[Tensor, Tensor]],
    settings: Segmenting,
    generator: Generator,
) -> Iterator[Batch]:
    while True:
        chosen = torch.randint(len(samples), (settings.batch_size,), generator=generator)
        crops, targets = [], []
        for index in chosen.tolist():
            pixels, maps = samples[index]
            crop, target = random_crop(
                pixels[None], maps[None], settings.crop_px, OUTPUT_STRIDE, generator
            )
            crop, target = random_geometry(crop, target, generator)
            crops.append(crop)
            targets.append(target)
        inputs = stained(torch.cat(crops), encoder, generator)
        yield inputs.to(settings.device), torch.cat(targets).to(settings.device)


def _thresholds(mpp: float) -> Thresholds:
    """The teacher's untuned thresholds, which are for 0.25 µm per pixel, with the same area."""
    known = Thresholds()
    return replace(known, least_px=max(1, round(known.least_px * (0.25 / mpp) ** 2)))


@torch.inference_mode()
def _measure(net: nn.Module, encoder: Encoder, image: Labelled, settings: Segmenting) -> Overlap:
    net.eval()
    pixels, maps, instances = _at(image, encoder.spec.mpp, settings.crop_px)
    inputs = normalise(pixels[None], mean=encoder.mean, std=encoder.std).to(settings.device)
    factor = _mpp(image) / encoder.spec.mpp / OUTPUT_STRIDE
    height, width = (int(n * factor) for n in image.instances.shape)  # without what was mirrored
    answer = net(inputs).float().cpu()
    predicted = (answer[0, 0] > 0)[:height, :width]
    actual = (maps[0] > 0.5)[:height, :width]
    # Of nuclei that touch, a pixel at stride 2 may hold two: they are told apart at full size.
    larger = double(responses_of(answer))[0].numpy()
    found = separate(larger, _thresholds(encoder.spec.mpp))[tuple(map(slice, instances.shape))]
    return Overlap(
        aji=score(instances, found).aji,
        predicted=int(predicted.sum()),
        actual=int(actual.sum()),
        both=int((predicted & actual).sum()),
    )
