"""Tiles to pretrain on: cut from images, read from slides, or stored as arrays."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from distill.teachers.labelled import case_of
from distill.teachers.read import read_labelled
from distill.tileset import TileSet, join
from pipelines.errors import UsageError
from pipelines.manifest import read_cohort
from pipelines.sampling import sample_tiles
from wsi.plan import TOLERANCE, TileSpec

Number = TypeVar("Number", bound=np.integer)
IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp"})
IMAGES = "images"  # where a folder has one of this name, its other folders hold labels
LARGEST_PX = 100_000_000  # above which an image is a slide, to be read as one


@dataclass(frozen=True, slots=True, kw_only=True)
class TileRequest:
    """What tiles are wanted.

    Attributes
    ----------
    spec
        Their size and resolution.
    context_px
        Margin on each side that a teacher sees.
    slide_tiles
        How many to read from each slide at most.
    upsample
        Whether images coarser than `spec` are enlarged; otherwise they are refused.
    labelled
        Whether labels of nuclei are wanted; images without are left out then.
    """

    spec: TileSpec
    context_px: int = 0
    slide_tiles: int = 500
    upsample: bool = False
    labelled: bool = False
    seed: int = 0

    @property
    def seen_px(self) -> int:
        """Edge of a tile with its context."""
        return self.spec.size_px + 2 * self.context_px


def read_tileset(
    sources: Sequence[str], mpps: Sequence[float | None], request: TileRequest
) -> TileSet:
    """Read tiles from folders of images, ``.npz`` files, slides or manifests.

    Parameters
    ----------
    mpps
        µm per pixel of each source; slides say it themselves, as a rule.

    Raises
    ------
    UsageError
        If a source holds no images, or its resolution is unknown or coarser than wanted.
    """
    return join([_read(*pair, request) for pair in zip(sources, mpps, strict=True)])


def cut(pixels: NDArray[Number], request: TileRequest) -> NDArray[Number]:
    """Cut an (H, W, ...) image, at the resolution wanted, into tiles with context.

    Tiles are spread evenly, so that they cover the image and overlap where it is no multiple of
    their size; context and what an image is too small for are mirrored.

    Returns
    -------
    (N, S, S, ...), row by row.
    """
    size, context, seen = request.spec.size_px, request.context_px, request.seen_px
    short = [max(0, size - n) for n in pixels.shape[:2]]
    margins = [(s // 2 + context, s - s // 2 + context) for s in short]
    padded = np.pad(pixels, [*margins, *[(0, 0)] * (pixels.ndim - 2)], mode="symmetric")
    rows, columns = (_starts(n - 2 * context, size) for n in padded.shape[:2])
    return np.stack([padded[y : y + seen, x : x + seen] for y in rows for x in columns])


def _starts(length: int, size: int) -> list[int]:
    count = -(-length // size)
    return [round(i * (length - size) / max(1, count - 1)) for i in range(count)]


def _read(source: str, mpp: float | None, request: TileRequest) -> TileSet:
    path = Path(source)
    if path.is_dir():
        read = _read_labelled if request.labelled else _read_images
        return read(path, mpp, request)
    if path.suffix == ".npz":
        return _read_arrays(path, mpp, request)
    if request.labelled:
        raise UsageError(f"--tiles {source}: slides have no nuclei labels; give a folder of images")
    return _read_slides(source, mpp, request)


def _read_images(folder: Path, mpp: float | None, request: TileRequest) -> TileSet:
    root = folder / IMAGES if (folder / IMAGES).is_dir() else folder
    paths = sorted(p for p in root.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES)
    if not paths:
        raise UsageError(
            f"--tiles {folder} holds no images ({', '.join(sorted(IMAGE_SUFFIXES))}); slides are "
            "given as files or as a manifest"
        )
    zoom = _zoom(str(folder), mpp, request)
    tiles = [cut(_resize(_read_image(path), zoom), request) for path in paths]
    return _of_images(tiles, [case_of(path.stem) for path in paths], request)


def _read_labelled(folder: Path, mpp: float | None, request: TileRequest) -> TileSet:
    """Tiles of the images whose every nucleus is labelled, from any layout a teacher reads."""
    images = [image for image in read_labelled(folder) if image.complete]
    if not images:
        raise UsageError(f"--tiles {folder}: of no image are all nuclei labelled")
    nearest = Image.Resampling.NEAREST
    tiles, labels = [], []
    for image in images:
        zoom = _zoom(str(folder), mpp or image.mpp, request)
        numbers = _resize(Image.fromarray(image.instances), zoom, nearest)
        tiles.append(cut(_resize(Image.fromarray(image.pixels), zoom), request))
        labels.append(cut(numbers.astype(np.int32), request))
    unlabelled = _of_images(tiles, [image.case for image in images], request)
    return replace(unlabelled, instances=np.concatenate(labels))


def _of_images(tiles: Sequence[NDArray[Any]], cases: list[str], request: TileRequest) -> TileSet:
    """The tiles of each image, whose source is its case: images of one patient are alike."""
    _, numbers = np.unique(cases, return_inverse=True)
    return TileSet(
        seen=np.concatenate(tiles),
        sources=np.repeat(numbers, [len(of_image) for of_image in tiles]),
        spec=request.spec,
        context_px=request.context_px,
    )


def _read_arrays(path: Path, mpp: float | None, request: TileRequest) -> TileSet:
    """``pixels`` (N, H, W, 3) uint8; perhaps ``instances`` (N, H, W) and ``sources`` (N,)."""
    with np.load(path, allow_pickle=False) as stored:
        arrays = dict(stored)
    pixels, labels = arrays.get("pixels"), arrays.get("instances")
    if pixels is None or pixels.ndim != 4 or pixels.dtype != np.uint8:
        raise UsageError(f"--tiles {path}: an array 'pixels' (N, H, W, 3) of uint8 is wanted")
    if request.labelled and labels is None:
        raise UsageError(f"--tiles {path} has no array 'instances'")
    zoom = _zoom(str(path), mpp, request)
    tiles = [cut(_resize(Image.fromarray(image), zoom), request) for image in pixels]
    sources = np.asarray(arrays.get("sources", np.arange(len(pixels))), np.int64)
    instances = None
    if request.labelled and labels is not None:
        nearest = Image.Resampling.NEAREST
        numbers = [_resize(Image.fromarray(n.astype(np.int32)), zoom, nearest) for n in labels]
        instances = np.concatenate([cut(n.astype(np.int32), request) for n in numbers])
    return TileSet(
        seen=np.concatenate(tiles),
        sources=np.repeat(sources, [len(t) for t in tiles]),
        spec=request.spec,
        context_px=request.context_px,
        instances=instances,
    )


def _read_slides(source: str, mpp: float | None, request: TileRequest) -> TileSet:
    spec = TileSpec(size_px=request.seen_px, mpp=request.spec.mpp)
    of_slides = [
        sample_tiles([entry], spec=spec, count=request.slide_tiles, seed=request.seed)
        for entry in read_cohort([source], mpp=mpp)
    ]
    return TileSet(
        seen=np.concatenate(of_slides),
        sources=np.repeat(np.arange(len(of_slides)), [len(tiles) for tiles in of_slides]),
        spec=request.spec,
        context_px=request.context_px,
    )


def _zoom(source: str, mpp: float | None, request: TileRequest) -> float:
    """By how much images are enlarged: below 1, they are reduced."""
    if mpp is None:
        raise UsageError(f"--tiles {source}: how many µm a pixel has is not known; give --mpp")
    zoom = mpp / request.spec.mpp
    if zoom > 1 + TOLERANCE and not request.upsample:
        raise UsageError(
            f"--tiles {source} has {mpp} µm/px, coarser than the {request.spec.mpp} wanted: "
            f"give --tile-mpp {mpp}, or --upsample to enlarge it"
        )
    return 1.0 if abs(zoom - 1) <= TOLERANCE else zoom


def _resize(
    image: Image.Image, zoom: float, method: Image.Resampling = Image.Resampling.BICUBIC
) -> NDArray[np.integer]:
    if zoom != 1:
        width, height = (max(1, round(n * zoom)) for n in image.size)
        image = image.resize((width, height), method)
    return np.asarray(image)


def _read_image(path: Path) -> Image.Image:
    try:
        with Image.open(path) as image:
            if image.width * image.height > LARGEST_PX:
                raise UsageError(
                    f"{path} has {image.width} x {image.height} px, limit {LARGEST_PX:_}: "
                    "give it as a slide"
                )
            return image.convert("RGB")
    except OSError as error:
        raise UsageError(f"{path} cannot be read as an image: {error}") from error
