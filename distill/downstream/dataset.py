"""Labelled images of one task, whatever layout they were published in."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

import h5py
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from distill.errors import LabelledDataError
from wsi.atomic import digest
from wsi.slide import Pixels


class Images(Protocol):
    """Images read one at a time; picklable, so that no handle stays open."""

    def __len__(self) -> int:
        """How many there are."""
        ...

    def read(self, index: int) -> Pixels:
        """One image, (H, W, 3) uint8; sizes may differ."""
        ...

    def digest(self) -> str:
        """SHA-256 of all pixels or of the files that hold them, in order."""
        ...


@dataclass(frozen=True, slots=True)
class ArrayImages:
    """Images held in memory, (N, H, W, 3) uint8."""

    pixels: Pixels

    def __len__(self) -> int:
        return len(self.pixels)

    def read(self, index: int) -> Pixels:
        """One image, (H, W, 3)."""
        return np.asarray(self.pixels[index])

    def digest(self) -> str:
        """Of the shape and the bytes."""
        total = hashlib.sha256(repr(self.pixels.shape).encode())
        total.update(self.pixels.tobytes())
        return total.hexdigest()


@dataclass(frozen=True, slots=True)
class FileImages:
    """Images in files that Pillow opens."""

    paths: tuple[Path, ...]

    def __len__(self) -> int:
        return len(self.paths)

    def read(self, index: int) -> Pixels:
        """One image, (H, W, 3).

        Raises
        ------
        LabelledDataError
            If the file is not an image, or larger than Pillow opens.
        """
        path = self.paths[index]
        try:
            with Image.open(path) as image:
                return np.asarray(image.convert("RGB"))
        except (OSError, SyntaxError, Image.DecompressionBombError) as error:
            raise LabelledDataError(f"{path} does not open as an image: {error}") from error

    def digest(self) -> str:
        """Of the files' bytes, whatever their names."""
        total = hashlib.sha256()
        for path in self.paths:
            total.update(digest(path).encode())
        return total.hexdigest()


@dataclass(frozen=True, slots=True)
class Hdf5Images:
    """Images of one or more HDF5 files, one after the other: data set `key`, (N, H, W, 3) uint8."""

    paths: tuple[Path, ...]
    key: str
    lengths: tuple[int, ...]

    def __len__(self) -> int:
        return sum(self.lengths)

    def read(self, index: int) -> Pixels:
        """One image, (H, W, 3)."""
        starts = np.cumsum((0, *self.lengths))
        number = int(np.searchsorted(starts, index, side="right")) - 1
        with h5py.File(self.paths[number], "r") as file:
            return np.asarray(file[self.key][index - starts[number]])

    def digest(self) -> str:
        """Of the files' bytes."""
        return hashlib.sha256("".join(map(digest, self.paths)).encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class LabelledImages:
    """Images with a class each, and what an honest split needs.

    Attributes
    ----------
    name
        Of the task, as results name it: ``"crchisto-type"``.
    images
        N of them.
    sample_ids
        N different names, stored beside every prediction.
    classes, targets
        Names of the classes, and for every image an index into them, (N,) int64.
    patient_ids
        Owner of every image; None where the publisher does not tell, and then every image
        counts as a patient of its own.
    splits
        The publisher's ``"train"`` or ``"test"`` for every image; None where there is none.
    mpp
        µm per pixel of every image.
    licence
        Of images and labels.
    """

    name: str
    images: Images
    sample_ids: tuple[str, ...]
    classes: tuple[str, ...]
    targets: NDArray[np.int64]
    patient_ids: tuple[str, ...] | None
    splits: tuple[str, ...] | None
    mpp: float
    licence: str

    def __post_init__(self) -> None:
        count = len(self.images)
        if count == 0:
            raise LabelledDataError(f"{self.name}: there is no image")
        for what in ("sample_ids", "targets", "patient_ids", "splits"):
            values = getattr(self, what)
            if values is not None and len(values) != count:
                raise LabelledDataError(f"{self.name}: {count} images, but {len(values)} {what}")
        if len(set(self.sample_ids)) < count:
            twice = next(s for s in self.sample_ids if self.sample_ids.count(s) > 1)
            raise LabelledDataError(f"{self.name}: sample {twice!r} occurs more than once")
        present = np.unique(self.targets)
        if len(present) < len(self.classes) or present[-1] >= len(self.classes):
            raise LabelledDataError(
                f"{self.name}: targets {present.tolist()} are not the {len(self.classes)} "
                f"classes {', '.join(self.classes)}; each needs an image"
            )
        if self.splits is not None and set(self.splits) != {"train", "test"}:
            raise LabelledDataError(
                f"{self.name}: splits are {sorted(set(self.splits))}, wanted train and test"
            )

    def __len__(self) -> int:
        return len(self.images)

    @cached_property
    def owners(self) -> NDArray[np.str_]:
        """Who an image belongs to: its patient, or itself where patients are not known."""
        return np.asarray(self.sample_ids if self.patient_ids is None else self.patient_ids)

    @property
    def astride(self) -> tuple[str, ...]:
        """Patients with images in both of the publisher's splits."""
        if self.splits is None or self.patient_ids is None:
            return ()
        splits = np.asarray(self.splits)
        train, test = (set(self.owners[splits == side]) for side in ("train", "test"))
        return tuple(sorted(map(str, train & test)))

    @cached_property
    def images_digest(self) -> str:
        """SHA-256 of the images: what embeddings depend on."""
        return self.images.digest()

    @cached_property
    def digest(self) -> str:
        """SHA-256 of images and labels: what predictions depend on."""
        labels = (
            self.sample_ids,
            self.classes,
            self.targets.tolist(),
            self.patient_ids,
            self.splits,
            self.mpp,
        )
        return hashlib.sha256(f"{self.images_digest} {labels}".encode()).hexdigest()


def index_classes(names: Sequence[str], classes: Sequence[str], *, task: str) -> NDArray[np.int64]:
    """Turn class names into indices.

    Raises
    ------
    LabelledDataError
        Naming the classes that are not known.
    """
    unknown = sorted(set(names) - set(classes))
    if unknown:
        raise LabelledDataError(f"{task}: classes {unknown} are not among {', '.join(classes)}")
    numbers = {name: number for number, name in enumerate(classes)}
    return np.array([numbers[name] for name in names], np.int64)
