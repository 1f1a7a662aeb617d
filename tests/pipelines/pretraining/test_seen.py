"""Images are listed as the tasks of the benchmark read them, whatever tiles were cut of them."""

from pathlib import Path

import numpy as np
from PIL import Image

from distill.downstream.loaders.nct_crc import load_crc_val_sample
from distill.seen import Seen, list_images
from pipelines.pretraining.seen import seen_in


def test_images_arrays_and_slides(tmp_path: Path, locating_slide: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (6, 70, 90, 3), np.uint8)
    folder = tmp_path / "crc"
    folder.mkdir()
    for number, image in enumerate(pixels[:4]):
        Image.fromarray(image).save(folder / f"{('TUM', 'STR')[number % 2]}___{number}.jpg")
    np.savez(tmp_path / "more.npz", pixels=pixels[4:])
    sources = [str(folder), str(tmp_path / "more.npz"), str(locating_slide)]
    seen = seen_in(sources, labelled=False)
    task = load_crc_val_sample(folder)
    of_task = list_images(task.images.read(number) for number in range(4))
    assert seen == of_task | list_images(pixels[4:]) | Seen(unlisted=("slides of locating.svs",))


def test_slides_of_a_folder_are_not_listed(locating_slide: Path) -> None:
    folder = locating_slide.parent
    assert seen_in([str(folder)], labelled=False) == Seen(unlisted=(f"slides of {folder.name}",))
