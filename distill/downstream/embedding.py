"""Embeddings of labelled images, computed once for an encoder and a set of images."""

import hashlib
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from distill.downstream.dataset import LabelledImages
from distill.downstream.view import SMALLEST_PX, STRIDE_PX, View
from distill.encoders import Encoder
from distill.trial import takes
from wsi.atomic import replacing
from wsi.slide import Pixels

BATCH_PX = 32 * 224**2  # pixels a batch: memory stays the same whatever the size of tiles

Embed = Callable[[Pixels], NDArray[np.float32]]


def embed_images(
    dataset: LabelledImages,
    embed: Embed,
    view: View,
    *,
    report: Callable[[int], None] | None = None,
) -> NDArray[np.float32]:
    """Embed every image as the mean over the tiles it is shown as.

    Parameters
    ----------
    embed
        (B, S, S, 3) uint8 tiles to (B, D): `Encoder.embed` or any other function.
    report
        Called with the number of images embedded so far.

    Returns
    -------
    (N, D) float32, in the order of the data set.
    """
    means: list[NDArray[np.float32]] = []
    waiting: list[Pixels] = []

    def flush() -> None:
        counts = [len(tiles) for tiles in waiting]
        rows = embed(np.concatenate(waiting))
        means.extend(part.mean(0) for part in np.split(rows, np.cumsum(counts)[:-1]))
        waiting.clear()
        if report:
            report(len(means))

    for index in range(len(dataset)):
        tiles = view.show(dataset.images.read(index), dataset.mpp)
        if waiting and tiles.shape[1:] != waiting[0].shape[1:]:
            flush()
        waiting.append(tiles)
        if sum(t.shape[0] for t in waiting) * tiles.shape[1] ** 2 >= BATCH_PX:
            flush()
    if waiting:
        flush()
    return np.stack(means).astype(np.float32)


def cached_embeddings(
    dataset: LabelledImages,
    encoder: Encoder,
    view: View,
    folder: Path,
    *,
    device: str = "cpu",
    report: Callable[[int], None] | None = None,
) -> NDArray[np.float32]:
    """`embed_images`, read from `folder` if the same encoder saw the same images the same way."""
    key = f"{encoder_digest(encoder)} {dataset.images_digest} {dataset.mpp} {view}"
    path = folder / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.npy"
    if path.is_file():
        return np.asarray(np.load(path, allow_pickle=False))
    embeddings = embed_images(dataset, embedder(encoder, device), view, report=report)
    with replacing(path) as tmp, tmp.open("wb") as stream:
        np.save(stream, embeddings)
    return embeddings


def embedder(encoder: Encoder, device: str = "cpu") -> Embed:
    """What `Encoder.embed` does, on a device that PyTorch names."""
    return replace(encoder, module=deepcopy(encoder.module)).on(device).embed


def encoder_digest(encoder: Encoder) -> str:
    """SHA-256 of everything an embedding depends on: weights, buffers, normalisation."""
    total = hashlib.sha256(f"{type(encoder.module)} {encoder.mean} {encoder.std}".encode())
    for name, value in encoder.module.state_dict().items():
        total.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        total.update(value.detach().cpu().numpy().tobytes())
    return total.hexdigest()


def view_of(encoder: Encoder, *, magnify: float = 1.0) -> View:
    """How images are shown to this encoder: many token models take only tiles of their own size."""
    # Not all of them say so, and with patches of 14 px a multiple of 32 px is no size, either.
    any_size = all(takes(encoder.module, px) for px in (SMALLEST_PX, SMALLEST_PX + STRIDE_PX))
    return View(spec=encoder.spec, any_size=any_size, magnify=magnify)
