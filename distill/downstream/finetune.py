"""Full fine-tuning: the encoder and a linear head learn a task together."""

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import log_loss
from torch import Generator, Tensor, nn

from distill.downstream.dataset import LabelledImages
from distill.downstream.probe import Answer
from distill.downstream.splits import TUNED_PATIENTS, Indices, validation
from distill.downstream.view import View, stained
from distill.encoders import Encoder, normalise
from distill.errors import ModelError
from distill.train import Batch, Schedule, train
from wsi.slide import Pixels

REMEMBERED = 2**30  # bytes of tiles kept, so that small sets are decoded only once
TILES = 128  # answered at once


@dataclass(frozen=True, slots=True, kw_only=True)
class FineTuning:
    """How fine-tuning is done: the same budget for every encoder.

    Attributes
    ----------
    steps, batch_size
        Of each training; one is made for every rate in `learning_rates`.
    learning_rates
        Peak rates to choose from by the validation patients' cross-entropy.
    crop_px
        Training sees a random square of this size of a tile, which costs less than all of it, or
        of the smallest tile in its batch; answers see whole tiles. Networks that take one size
        only are not cropped for.
    label_smoothing
        Share of the target spread over all classes.
    device
        Where the network is, as PyTorch names it.
    bfloat16
        Whether trainings compute in half precision where torch holds that safe; answers do not.
    """

    steps: int = 300
    batch_size: int = 32
    learning_rates: tuple[float, ...] = (1e-4, 3e-4, 1e-3)
    crop_px: int = 128
    label_smoothing: float = 0.1
    device: str = "cpu"
    bfloat16: bool = False

    @property
    def untuned(self) -> float:
        """The rate where too few patients are left to validate on: the middle one."""
        return self.learning_rates[len(self.learning_rates) // 2]


class Shown:
    """The tiles of each image of a data set, kept in memory as long as they are small."""

    def __init__(self, dataset: LabelledImages, view: View) -> None:
        self.dataset, self.view = dataset, view
        self._kept: dict[int, Pixels] = {}
        self._room = REMEMBERED

    def __getitem__(self, index: int) -> Pixels:
        """Tiles (T, S, S, 3) of an image."""
        if index in self._kept:
            return self._kept[index]
        tiles = self.view.show(self.dataset.images.read(index), self.dataset.mpp)
        if tiles.nbytes <= self._room:
            self._kept[index], self._room = tiles, self._room - tiles.nbytes
        return tiles


def fine_tune(
    encoder: Encoder,
    shown: Shown,
    learn_from: Indices,
    asked: Indices,
    settings: FineTuning,
    *,
    seed: int = 0,
) -> Answer:
    """Class probabilities of the images `asked` by a copy of the encoder trained on `learn_from`.

    A training step sees one tile of each image of its batch, turned, flipped and with varied
    stain; an answer is the mean over all tiles of an image. Patients are set aside to choose the
    learning rate; the network that answers is trained once more, on all of `learn_from`. Where
    there are fewer than `TUNED_PATIENTS`, or none can be set aside, the middle rate is used and
    the answer's setting says so.

    Raises
    ------
    ModelError
        If the encoder has nothing to train.
    """
    if not any(True for _ in encoder.module.parameters()):
        raise ModelError(f"{encoder.identifier} has no weights to fine-tune")
    dataset = shown.dataset
    targets = dataset.targets
    owners = dataset.owners[learn_from]
    parts = validation(targets[learn_from], owners, seed=seed, least_patients=TUNED_PATIENTS)
    if parts is None:
        rate, note = settings.untuned, ", not validated"
    else:
        learn, validate = (learn_from[part] for part in parts)
        rate, note = _choose(encoder, shown, learn, validate, settings, seed), ""
    net = _trained(encoder, shown, learn_from, settings, rate, seed)
    probs = _predict(net, encoder, shown, asked, settings)
    return Answer(probs=probs, setting=f"lr={rate:g}{note}")


def _choose(
    encoder: Encoder,
    shown: Shown,
    learn: Indices,
    validate: Indices,
    settings: FineTuning,
    seed: int,
) -> float:
    """The rate with the least cross-entropy on `validate` of networks that learn from `learn`."""
    targets = shown.dataset.targets[validate]
    losses = []
    for rate in settings.learning_rates:
        net = _trained(encoder, shown, learn, settings, rate, seed)
        probs = _predict(net, encoder, shown, validate, settings).astype(np.float64)
        probs /= probs.sum(1, keepdims=True)  # float32 sums to 1 only nearly
        labels = np.arange(len(shown.dataset.classes))
        losses.append(float(log_loss(targets, probs, labels=labels)))
    return settings.learning_rates[int(np.argmin(losses))]


def _trained(
    encoder: Encoder,
    shown: Shown,
    indices: Indices,
    settings: FineTuning,
    rate: float,
    seed: int,
) -> nn.Module:
    generator = Generator().manual_seed(seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)  # for the head's weights, and dropout where a network has it
        head = nn.Linear(encoder.dim, len(shown.dataset.classes))
        net = nn.Sequential(deepcopy(encoder.module), head).to(settings.device)
        loss = nn.CrossEntropyLoss(label_smoothing=settings.label_smoothing)
        schedule = Schedule(steps=settings.steps, learning_rate=rate)
        batches = _batches(encoder, shown, indices, settings, generator)
        train(net, batches, loss, schedule, bfloat16=settings.bfloat16)
    return net


def _batches(
    encoder: Encoder,
    shown: Shown,
    indices: Indices,
    settings: FineTuning,
    generator: Generator,
) -> Iterator[Batch]:
    """Augmented batches without end; every image once before any comes again."""
    targets = torch.from_numpy(shown.dataset.targets)
    size = min(settings.batch_size, len(indices))
    crop_px = settings.crop_px if shown.view.any_size else shown.view.spec.size_px
    for chosen in _rounds(indices, size, generator):
        tiles = [_one_of(shown[i], generator) for i in chosen]
        edge = min(crop_px, *(len(tile) for tile in tiles))  # tiles of small images are smaller
        pixels = np.stack([_turned(_cropped(t, edge, generator), generator) for t in tiles])
        inputs = stained(torch.from_numpy(pixels), encoder, generator)
        yield inputs.to(settings.device), targets[chosen].to(settings.device)


def _rounds(indices: Indices, size: int, generator: Generator) -> Iterator[list[int]]:
    waiting: list[int] = []
    while True:
        while len(waiting) < size:
            order = torch.randperm(len(indices), generator=generator)
            waiting += [int(indices[place]) for place in order]
        yield waiting[:size]
        waiting = waiting[size:]


def _one_of(tiles: Pixels, generator: Generator) -> Pixels:
    return np.asarray(tiles[int(torch.randint(len(tiles), (), generator=generator))])


def _cropped(tile: Pixels, size_px: int, generator: Generator) -> Pixels:
    y, x = torch.randint(len(tile) - size_px + 1, (2,), generator=generator).tolist()
    return np.asarray(tile[y : y + size_px, x : x + size_px])


def _turned(tile: Pixels, generator: Generator) -> Pixels:
    turns, mirrored = torch.randint(4, (2,), generator=generator).tolist()
    turned = np.rot90(tile, turns)
    return np.asarray(turned[:, ::-1] if mirrored % 2 else turned)


@torch.inference_mode()
def _predict(
    net: nn.Module, encoder: Encoder, shown: Shown, indices: Indices, settings: FineTuning
) -> NDArray[np.float32]:
    """Mean probability over the tiles of each image, (M, C)."""
    net.eval()
    answers = []
    for start in range(0, len(indices), settings.batch_size):
        stacks = [shown[int(i)] for i in indices[start : start + settings.batch_size]]
        for _, run in groupby(stacks, key=lambda stack: stack.shape[1]):  # of tiles of one size
            answers += _answers(net, encoder, list(run), settings)
    return np.asarray(torch.stack(answers))


def _answers(
    net: nn.Module, encoder: Encoder, stacks: list[Pixels], settings: FineTuning
) -> list[Tensor]:
    tiles = torch.from_numpy(np.concatenate(stacks))
    probs = torch.cat(
        [
            net(normalise(part, mean=encoder.mean, std=encoder.std).to(settings.device))
            for part in torch.split(tiles, TILES)
        ]
    ).softmax(1)
    counts = [len(stack) for stack in stacks]
    return [part.mean(0) for part in torch.split(probs.float().cpu(), counts)]
