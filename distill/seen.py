"""Which images a network was trained on, by short digests in a small file beside its card."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from wsi.atomic import replacing
from wsi.slide import Pixels

SEEN_NAME = "seen.txt"  # beside an encoder's card, and
TEACHER_SEEN_NAME = "teacher-seen.txt"  # beside a teacher's, which may be in the same folder
DIGITS = 16  # of a digest: two of a million images are the same once in 37 million times
NOTE = "# "


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """Images that a network was trained on.

    Attributes
    ----------
    images
        `image_digest` of each.
    unlisted
        What else it was trained on, in words: slides, or the images of a teacher that says none.
    """

    images: frozenset[str] = frozenset()
    unlisted: tuple[str, ...] = ()

    def __or__(self, other: "Seen") -> "Seen":
        unlisted = dict.fromkeys((*self.unlisted, *other.unlisted))
        return Seen(images=self.images | other.images, unlisted=tuple(unlisted))


def image_digest(pixels: Pixels) -> str:
    """The beginning of the SHA-256 of an (H, W, 3) uint8 image: its size and its pixels."""
    total = hashlib.sha256(repr(pixels.shape).encode())
    total.update(np.ascontiguousarray(pixels).data)
    return total.hexdigest()[:DIGITS]


def list_images(images: Iterable[Pixels]) -> Seen:
    """The digests of images as they were read, before any resampling."""
    return Seen(images=frozenset(map(image_digest, images)))


def write_seen(path: Path, seen: Seen) -> None:
    """Write a line an image, after lines with ``#`` for what is not listed."""
    lines = [*(f"{NOTE}{what}" for what in seen.unlisted), *sorted(seen.images)]
    with replacing(path) as tmp:
        tmp.write_text("".join(f"{line}\n" for line in lines))


def read_seen(path: Path) -> Seen | None:
    """What `write_seen` wrote; None where there is no such file."""
    if not path.is_file():
        return None
    lines = path.read_text().splitlines()
    notes = [line.removeprefix(NOTE) for line in lines if line.startswith(NOTE)]
    images = frozenset(line for line in lines if line and not line.startswith(NOTE))
    return Seen(images=images, unlisted=tuple(notes))
