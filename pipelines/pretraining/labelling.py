"""Folders of labelled tiles to begin a teacher with, where no human has labelled any."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from distill.errors import LabelledDataError
from distill.teachers.cases import write_cases
from distill.teachers.haematoxylin import label_by_haematoxylin
from pipelines.pretraining.places import Place, read_place
from wsi.atomic import replacing
from wsi.stain import NotEstimable


def write_labelled(
    places: Sequence[Place], folder: Path, *, report: Callable[[int], None] | None = None
) -> int:
    """Label tiles by haematoxylin into ``images/`` and ``instances/`` of a new folder.

    ``cases.csv`` says of which slide or image each is, so that none of its tiles is learned from
    while others are held out.
    Tiles on which the stains cannot be told apart, such as glass, are left out.

    Returns
    -------
    How many were labelled.

    Raises
    ------
    LabelledDataError
        If the folder is there already, or no tile can be labelled.
    """
    if folder.exists():
        raise LabelledDataError(f"{folder} is there already: give a new folder, or delete it")
    seen = 0
    names: dict[int, str] = {}  # of the places' sources
    cases: dict[str, str] = {}  # of the tiles
    with replacing(folder) as tmp:
        for kind in ("images", "instances"):
            (tmp / kind).mkdir(parents=True)
        for place in places:
            for source, pixels in zip(place.sources.tolist(), read_place(place), strict=True):
                seen += 1
                instances = label_by_haematoxylin(pixels, mpp=place.spec.mpp)
                if isinstance(instances, NotEstimable):
                    continue
                name = f"{source:04d}-{seen:06d}"
                Image.fromarray(pixels).save(tmp / "images" / f"{name}.png")
                labels = Image.fromarray(instances.astype(np.uint16))
                labels.save(tmp / "instances" / f"{name}.png")
                cases[name] = names.setdefault(source, _case(place, source))
            if report:
                report(seen)
        if not cases:
            raise LabelledDataError(
                f"on none of the {seen} tiles can haematoxylin and eosin be told apart: give "
                "tissue stained with both"
            )
        write_cases(tmp, cases)
    return len(cases)


def _case(place: Place, source: int) -> str:
    """The patient, slide or image; of arrays, the number in them."""
    return place.case or f"{Path(place.path or '').stem}-{source}"
