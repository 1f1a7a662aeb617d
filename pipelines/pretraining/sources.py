"""Where tiles to pretrain on lie: in folders of images or slides, arrays, slides, manifests."""

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from distill.teachers.cases import cases_of
from pipelines.cohort.manifest import read_cohort
from pipelines.errors import UsageError
from pipelines.pretraining.places import ARRAYS, Place, open_image, resampled_size, tile_coords
from pipelines.pretraining.sampling import place_in_slides
from wsi.plan import TOLERANCE, TileSpec
from wsi.visible import IMAGE_SUFFIXES, visible_images

Say = Callable[[str], None]  # is told which slides are left out
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


def find_tiles(
    sources: Sequence[str],
    mpps: Sequence[float | None],
    request: TileRequest,
    *,
    say: Say = lambda _: None,
) -> list[Place]:
    """Where the tiles are that `tiles.read_tileset` reads, without labels; raises as it does."""
    found: list[Place] = []
    known = 0
    for source, mpp in zip(sources, mpps, strict=True):
        places = [replace(p, sources=p.sources + known) for p in _find(source, mpp, request, say)]
        known = 1 + max((int(place.sources.max()) for place in places), default=known - 1)
        found += places
    return found


def _find(source: str, mpp: float | None, request: TileRequest, say: Say) -> list[Place]:
    path = Path(source)
    if path.is_dir() and (paths := image_paths(path)):
        return _find_images(path, paths, mpp, request)
    if path.suffix == ARRAYS:
        return [find_arrays(path, mpp, request)]
    try:
        entries = read_cohort([source], mpp=mpp)
    except UsageError as error:
        if not path.is_dir():
            raise
        suffixes = ", ".join(sorted(IMAGE_SUFFIXES))
        raise UsageError(f"--tiles {source} holds no images ({suffixes}), and {error}") from error
    return place_in_slides(
        entries,
        spec=request.spec,
        count=request.slide_tiles * len(entries),
        context_px=request.context_px,
        seed=request.seed,
        say=say,
    )


def image_paths(folder: Path) -> list[Path]:
    """The images of a folder, sorted; a folder without any is one of slides."""
    root = folder / IMAGES if (folder / IMAGES).is_dir() else folder
    return visible_images(root, "**/*")


def _find_images(
    folder: Path, paths: Sequence[Path], mpp: float | None, request: TileRequest
) -> list[Place]:
    zoom = zoom_of(str(folder), mpp, request)
    cases_by_name = cases_of(folder, [path.stem for path in paths])
    cases = [cases_by_name[path.stem] for path in paths]
    places = []
    for path, case, source in zip(paths, cases, numbered(cases).tolist(), strict=True):
        with open_image(path) as image:
            coords = tile_coords(*resampled_size(image, zoom), request.spec.size_px)
        numbers = np.zeros(len(coords), np.int64)
        place = _place(path, coords, numbers, source, zoom, request)
        places.append(replace(place, case=case))
    return places


def find_arrays(path: Path, mpp: float | None, request: TileRequest) -> Place:
    """Where tiles lie in an ``.npz`` file of ``pixels`` (N, H, W, 3), perhaps ``sources`` (N,)."""
    arrays = read_arrays(path)
    pixels = arrays["pixels"]
    zoom = zoom_of(str(path), mpp, request)
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


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """All arrays of an ``.npz`` file.

    Raises
    ------
    UsageError
        If it cannot be read, or none of them is `pixels`, (N, H, W, 3) uint8, of one image or more.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            arrays = dict(stored)
    except (OSError, EOFError, ValueError, BadZipFile, zlib.error) as error:
        raise UsageError(f"--tiles {path} cannot be read as arrays: {error}") from error
    pixels = arrays.get("pixels")
    if pixels is None or pixels.ndim != 4 or pixels.shape[3] != 3 or pixels.dtype != np.uint8:
        raise UsageError(f"--tiles {path}: an array 'pixels' (N, H, W, 3) of uint8 is wanted")
    if not pixels.size:
        raise UsageError(f"--tiles {path}: 'pixels' is {pixels.shape}, of no image: leave it out")
    return arrays


def numbered(cases: list[str]) -> NDArray[np.int64]:
    """A number for each case: images of one patient are alike."""
    return np.asarray(np.unique(cases, return_inverse=True)[1], np.int64)


def zoom_of(source: str, mpp: float | None, request: TileRequest) -> float:
    """By how much images are enlarged: below 1, they are reduced.

    Raises
    ------
    UsageError
        If their resolution is not known, or coarser than wanted and not to be enlarged.
    """
    if mpp is None:
        raise UsageError(f"--tiles {source}: how many µm a pixel has is not known; give --mpp")
    zoom = mpp / request.spec.mpp
    if zoom > 1 + TOLERANCE and not request.upsample:
        raise UsageError(
            f"--tiles {source} has {mpp} µm/px, coarser than the {request.spec.mpp} wanted: "
            f"give --tile-mpp {mpp}, or --upsample to enlarge it"
        )
    return 1.0 if abs(zoom - 1) <= TOLERANCE else zoom
