"""Tiles to pretrain on, read from wherever they are."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from distill.teachers.read import read_labelled
from distill.tileset import TileSet, join
from pipelines.errors import UsageError
from pipelines.pretraining.places import ARRAYS, Place, cut, read_place, resample, tile_coords
from pipelines.pretraining.sources import (
    Say,
    TileRequest,
    find_arrays,
    find_tiles,
    numbered,
    read_arrays,
    zoom_of,
)
from wsi.cpus import usable_cpus
from wsi.scratch import room_for


def read_tileset(
    sources: Sequence[str],
    mpps: Sequence[float | None],
    request: TileRequest,
    *,
    say: Say = lambda _: None,
) -> TileSet:
    """Read tiles from folders of images or of slides, ``.npz`` files, slides or manifests.

    Parameters
    ----------
    mpps
        µm per pixel of each source; slides say it themselves, as a rule.
    say
        Called with a line for each slide that is left out, which has no tissue.

    Raises
    ------
    UsageError
        If a source holds neither images nor slides, cannot be read, or its resolution is unknown
        or coarser than wanted.
    """
    if request.labelled:
        pairs = zip(sources, mpps, strict=True)
        return join([_read_labelled(Path(source), mpp, request) for source, mpp in pairs])
    return read_places(find_tiles(sources, mpps, request, say=say))


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


def _read_labelled(source: Path, mpp: float | None, request: TileRequest) -> TileSet:
    if source.suffix == ARRAYS:
        arrays = read_arrays(source)
        if "instances" not in arrays:
            raise UsageError(f"--tiles {source} has no array 'instances'")
        if (least := arrays["instances"].min()) < 0:
            raise UsageError(
                f"--tiles {source}: a pixel of 'instances' is {least}; 0 for background and one "
                "positive number a nucleus are wanted"
            )
        place = find_arrays(source, mpp, request)
        labels = [_cut_labels(numbers, place.zoom, request) for numbers in arrays["instances"]]
        return replace(read_places([place]), instances=np.concatenate(labels))
    if not source.is_dir():
        raise UsageError(f"--tiles {source}: slides have no nuclei labels; give a folder of images")
    images = [image for image in read_labelled(source) if image.complete]
    if not images:
        raise UsageError(f"--tiles {source}: of no image are all nuclei labelled")
    seen, labels = [], []
    for image in images:
        zoom = zoom_of(str(source), image.mpp or mpp, request)
        pixels = resample(Image.fromarray(image.pixels), zoom)
        coords = tile_coords(pixels.shape[1], pixels.shape[0], request.spec.size_px)
        seen.append(cut(pixels, coords, request.spec, request.context_px))
        labels.append(_cut_labels(image.instances, zoom, request))
    cases = numbered([image.case for image in images])
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
