"""The images that a pretraining sees, for the file beside its card."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from distill.seen import Seen, list_images
from distill.teachers.read import read_labelled
from pipelines.pretraining.places import ARRAYS, read_image
from pipelines.pretraining.tiles import TileRequest, find_tiles
from wsi.slide import Pixels


def seen_in(sources: Sequence[str], mpps: Sequence[float | None], request: TileRequest) -> Seen:
    """The images in what `read_tileset` reads: all of them, held out or not; slides by number."""
    if request.labelled:
        folders = [Path(source) for source in sources if not source.endswith(ARRAYS)]
        labelled = [image.pixels for f in folders for image in read_labelled(f) if image.complete]
        arrays = [Path(source) for source in sources if source.endswith(ARRAYS)]
        return list_images(labelled) | list_images(p for path in arrays for p in _images(path))
    places = find_tiles(sources, mpps, request)
    paths = dict.fromkeys(place.path for place in places if place.path)
    slides = {place.slide for place in places if place.slide}
    listed = list_images(pixels for path in paths for pixels in _images(path))
    return listed | Seen(unlisted=(f"{len(slides)} slides",) if slides else ())


def _images(path: Path) -> Iterator[Pixels]:
    if path.suffix == ARRAYS:
        with np.load(path, allow_pickle=False) as stored:
            yield from stored["pixels"]
    else:
        yield np.asarray(read_image(path))
