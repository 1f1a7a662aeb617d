"""The file of the images that a network saw."""

from pathlib import Path

import numpy as np

from distill.seen import Seen, image_digest, list_images, read_seen, write_seen


def test_an_image_is_known_by_its_pixels_and_its_size() -> None:
    image = np.random.default_rng(0).integers(0, 256, (8, 6, 3), np.uint8)
    assert image_digest(image) == image_digest(np.asfortranarray(image))
    other = image.copy()
    other[7, 5, 2] ^= 1
    digests = [image_digest(of) for of in (image, other, image.reshape(6, 8, 3))]
    assert len(set(digests)) == 3
    assert all(len(digest) == 16 for digest in digests)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "seen.txt"
    assert read_seen(path) is None
    images = np.random.default_rng(0).integers(0, 256, (5, 4, 4, 3), np.uint8)
    slides = Seen(unlisted=("2 slides",))
    seen = list_images(images[:3]) | slides | list_images(images[2:]) | slides
    assert len(seen.images) == 5
    assert seen.unlisted == ("2 slides",)
    write_seen(path, seen)
    assert read_seen(path) == seen
    assert path.read_text().startswith("# 2 slides\n")
    write_seen(path, Seen())
    assert read_seen(path) == Seen()
