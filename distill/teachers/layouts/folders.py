"""Layout `images/` + `instances/`, and `foreground/` for images whose nuclei are not separated."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from skimage.measure import label, regionprops

from distill.errors import LabelledDataError
from distill.teachers.cases import cases_of
from distill.teachers.labelled import (
    UNKNOWN,
    Instances,
    Labelled,
    read_numbers,
    read_pixels,
)
from wsi.visible import images_by_stem

DESCRIPTION = "images/ + instances/ (or foreground/), files of the same stem"
# Touching nuclei have a notch between them. Of MoNuSeg's components above this solidity, 99 of
# 100 are one nucleus (2732 of 2760), and 55 % of all its nuclei are among them.
SINGLE_SOLIDITY = 0.93
SINGLE_LEAST_PX = 30


def recognises(folder: Path) -> bool:
    """Whether there are images and one of the two kinds of labels."""
    labels = (folder / "instances", folder / "foreground")
    return (folder / "images").is_dir() and any(path.is_dir() for path in labels)


def read(folder: Path) -> Iterator[Labelled]:
    """Read each image with the label file of the same stem; instances win over foreground."""
    of_kind = {kind: images_by_stem(folder / kind) for kind in ("instances", "foreground")}
    images = images_by_stem(folder / "images")
    unlabelled = sorted(set(images) - set(of_kind["instances"]) - set(of_kind["foreground"]))
    if unlabelled or not images:
        raise LabelledDataError(
            f"{folder}: {len(images)} images, {len(unlabelled)} of them without a file in "
            f"instances/ or foreground/: {', '.join(unlabelled[:5])}"
        )
    cases = cases_of(folder, list(images))
    for stem, path in sorted(images.items()):
        if stem in of_kind["instances"]:
            instances = read_numbers(of_kind["instances"][stem]).astype(np.int32)
        else:
            instances = separate_singles(read_numbers(of_kind["foreground"][stem]) > 0)
        yield Labelled(pixels=read_pixels(path), instances=instances, name=stem, case=cases[stem])


def separate_singles(foreground: NDArray[np.bool_]) -> Instances:
    """Number the components of a mask that look like one nucleus; the rest becomes `UNKNOWN`.

    One nucleus is nearly convex. Its pixels teach where its centre is; those of a clump teach
    only that they are nuclear.
    """
    instances = np.where(foreground, np.int32(UNKNOWN), np.int32(0))
    components = label(foreground, connectivity=1)  # type: ignore[no-untyped-call]
    number = 0
    for region in regionprops(components):  # type: ignore[no-untyped-call]
        if region.area >= SINGLE_LEAST_PX and region.solidity >= SINGLE_SOLIDITY:
            number += 1
            instances[region.slice][region.image] = number
    return instances
