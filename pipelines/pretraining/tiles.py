"""Tiles to pretrain on: cut from images, read from slides, or stored as arrays."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from distill.teachers.cases import cases_of
from distill.teachers.read import read_labelled
from distill.tileset import TileSet, join
from pipelines.errors import UsageError
from pipelines.manifest import read_cohort
from pipelines.pretraining.places import (
    ARRAYS,
    Place,
    cut,
    open_image,
    read_place,
    resample,
    resampled_size,
    tile_coords,
)
from pipelines.sampling import place_in_slides
from wsi.cpus import usable_cpus
from wsi.plan import TOLERANCE, TileSpec
from wsi.scratch import room_for

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp"})
IMAGES = "images"  # where a folder has one of this name, its other folders hold labels


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
    if request.labelled:
        pairs = zip(sources, mpps, strict=True)
        return join([_read_labelled(Path(source), mpp, request) for source, mpp in pairs])
    return read_places(find_tiles(sources, mpps, request))


def find_tiles(
    sources: Sequence[str], mpps: Sequence[float | None], request: TileRequest
) -> list[Place]:
    """Where the tiles are that `read_tileset` reads, without labels; raises as it does."""
    found: list[Place] = []
    known = 0
    for source, mpp in zip(sources, mpps, strict=True):
        places = [replace(p, sources=p.sources + known) for p in _find(source, mpp, request)]
        known = 1 + max((int(place.sources.max()) for place in places), default=known - 1)
        found += places
    return found


def read_places(places: Sequence[Place]) -> TileSet:
    """Read all tiles of all places, which need not fit into memory.

    Raises
    ------
    DiskFullError
        If they would not fit into the temporary folder either.
    """
    ends = np.cumsum([len(place) for place in places]).tolist()
    seen = room_for((ends[-1], *[places[0].seen_px] * 2, 3), np.uint8)

    def fill(place: Place, end: int) -> None:
        seen[end - len(place) : end] = read_place(place)

    with ThreadPoolExecutor(usable_cpus(), "places") as pool:
        for _ in pool.map(fill, places, ends):
            pass  # what a thread raised is raised here
    return TileSet(
        seen=seen,
        sources=np.concatenate([place.sources for place in places]),
        spec=places[0].spec,
        context_px=places[0].context_px,
    )


def _find(source: str, mpp: float | None, request: TileRequest) -> list[Place]:
    path = Path(source)
    if path.is_dir():
        return _find_images(path, mpp, request)
    if path.suffix == ARRAYS:
        return [_find_arrays(path, mpp, request)]
    entries = read_cohort([source], mpp=mpp)
    return place_in_slides(
        entries,
        spec=request.spec,
        count=request.slide_tiles * len(entries),
        context_px=request.context_px,
        seed=request.seed,
    )


def image_paths(folder: Path) -> list[Path]:
    """The images of a folder, sorted.

    Raises
    ------
    UsageError
        If there is none.
    """
    root = folder / IMAGES if (folder / IMAGES).is_dir() else folder
    paths = sorted(p for p in root.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES)
    if not paths:
        raise UsageError(
            f"--tiles {folder} holds no images ({', '.join(sorted(IMAGE_SUFFIXES))}); slides are "
            "given as files or as a manifest"
        )
    return paths


def _find_images(folder: Path, mpp: float | None, request: TileRequest) -> list[Place]:
    paths = image_paths(folder)
    zoom = _zoom(str(folder), mpp, request)
    cases_by_name = cases_of(folder, [path.stem for path in paths])
    cases = _numbered([cases_by_name[path.stem] for path in paths])
    places = []
    for path, case in zip(paths, cases.tolist(), strict=True):
        with open_image(path) as image:
            coords = tile_coords(*resampled_size(image, zoom), request.spec.size_px)
        places.append(_place(path, coords, np.zeros(len(coords), np.int64), case, zoom, request))
    return places


def _find_arrays(path: Path, mpp: float | None, request: TileRequest) -> Place:
    """``pixels`` (N, H, W, 3) uint8; perhaps ``sources`` (N,)."""
    arrays = _read_arrays(path)
    pixels = arrays["pixels"]
    zoom = _zoom(str(path), mpp, request)
    size = resampled_size(Image.fromarray(pixels[0]), zoom)
    of_one = tile_coords(*size, request.spec.size_px)
    numbers = np.repeat(np.arange(len(pixels)), len(of_one))
    sources = np.asarray(arrays.get("sources", np.arange(len(pixels))), np.int64)
    coords = np.tile(of_one, (len(pixels), 1))
    return _place(path, coords, numbers, sources[numbers], zoom, request)


def _place(
    path: Path,
    coords: NDArray[np.int64],
    numbers: NDArray[np.int64],
    sources: NDArray[np.int64] | int,
    zoom: float,
    request: TileRequest,
) -> Place:
    return Place(
        path=path.absolute(),
        coords=coords,
        numbers=numbers,
        sources=np.broadcast_to(np.asarray(sources, np.int64), len(coords)).copy(),
        spec=request.spec,
        context_px=request.context_px,
        zoom=zoom,
    )


def _read_labelled(source: Path, mpp: float | None, request: TileRequest) -> TileSet:
    if source.suffix == ARRAYS:
        arrays = _read_arrays(source)
        if "instances" not in arrays:
            raise UsageError(f"--tiles {source} has no array 'instances'")
        place = _find_arrays(source, mpp, request)
        labels = [_cut_labels(numbers, place.zoom, request) for numbers in arrays["instances"]]
        return replace(read_places([place]), instances=np.concatenate(labels))
    if not source.is_dir():
        raise UsageError(f"--tiles {source}: slides have no nuclei labels; give a folder of images")
    images = [image for image in read_labelled(source) if image.complete]
    if not images:
        raise UsageError(f"--tiles {source}: of no image are all nuclei labelled")
    seen, labels = [], []
    for image in images:
        zoom = _zoom(str(source), mpp or image.mpp, request)
        pixels = resample(Image.fromarray(image.pixels), zoom)
        coords = tile_coords(pixels.shape[1], pixels.shape[0], request.spec.size_px)
        seen.append(cut(pixels, coords, request.spec, request.context_px))
        labels.append(_cut_labels(image.instances, zoom, request))
    cases = _numbered([image.case for image in images])
    return TileSet(
        seen=np.concatenate(seen).astype(np.uint8),
        sources=np.repeat(cases, [len(tiles) for tiles in seen]),
        spec=request.spec,
        context_px=request.context_px,
        instances=np.concatenate(labels),
    )


def _cut_labels(
    instances: NDArray[np.integer[Any]], zoom: float, request: TileRequest
) -> NDArray[np.int32]:
    nearest = Image.Resampling.NEAREST
    numbers = resample(Image.fromarray(instances.astype(np.int32)), zoom, nearest)
    coords = tile_coords(numbers.shape[1], numbers.shape[0], request.spec.size_px)
    return cut(numbers.astype(np.int32), coords, request.spec, request.context_px)


def _read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    with np.load(path, allow_pickle=False) as stored:
        arrays = dict(stored)
    pixels = arrays.get("pixels")
    if pixels is None or pixels.ndim != 4 or pixels.dtype != np.uint8:
        raise UsageError(f"--tiles {path}: an array 'pixels' (N, H, W, 3) of uint8 is wanted")
    return arrays


def _numbered(cases: list[str]) -> NDArray[np.int64]:
    """A number for each case: images of one patient are alike."""
    return np.asarray(np.unique(cases, return_inverse=True)[1], np.int64)


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
