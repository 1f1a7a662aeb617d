"""The images that a pretraining sees, for the file beside its card."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from distill.seen import Seen, list_images
from distill.teachers.read import read_labelled
from pipelines.pretraining.places import ARRAYS, read_image
from pipelines.pretraining.sources import image_paths
from wsi.slide import Pixels


def seen_in(sources: Sequence[str], *, labelled: bool) -> Seen:
    """All images in what `read_tileset` reads, held out or not; slides are not listed."""
    seen = Seen()
    for source in map(Path, sources):
        is_folder = source.is_dir() and (labelled or image_paths(source))
        is_listed = is_folder or source.suffix == ARRAYS
        slides = Seen(unlisted=(f"slides of {source.name}",))
        seen |= list_images(_images(source, labelled=labelled)) if is_listed else slides
    return seen


def _images(source: Path, *, labelled: bool) -> Iterator[Pixels]:
    if source.suffix == ARRAYS:
        with np.load(source, allow_pickle=False) as stored:
            yield from stored["pixels"]
    elif labelled:
        yield from (image.pixels for image in read_labelled(source) if image.complete)
    else:
        yield from (np.asarray(read_image(path)) for path in image_paths(source))
