"""Images laid out as GlaS and its neighbours, with made-up pixels."""

import csv
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from benchmarks.slides import SCANNED
from wsi.synthetic.aperio import write_svs

# Classes of each patient's images: one has both.
PATIENTS = {
    **{str(number): ("benign",) for number in range(1, 5)},
    **{str(number): ("malignant",) for number in range(5, 8)},
    "8": ("benign", "benign", "malignant"),
}
COLOURS = {"benign": (225, 150, 200), "malignant": (190, 110, 195)}
NUCLEI = (95, 60, 140)
EDGE_PX = 450  # 558 at 0.5 µm: a little more than a piece


def stained(label: str, random: np.random.Generator) -> NDArray[np.uint8]:
    """A picture of a class's colour with nuclei, (H, W, 3)."""
    noise = ndimage.gaussian_filter(random.normal(size=(EDGE_PX, EDGE_PX)), 3)
    is_nucleus = (noise > np.quantile(noise, 0.8))[..., None]
    pixels = np.where(is_nucleus, NUCLEI, COLOURS[label]) + random.normal(0, 6, (*noise.shape, 3))
    return np.clip(pixels, 0, 255).astype(np.uint8)


@pytest.fixture(scope="session")
def made_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of ``glas``, ``pen_and_tissue`` and ``slides``."""
    folder = tmp_path_factory.mktemp("made")
    random = np.random.default_rng(0)
    rows = []
    for patient, labels in PATIENTS.items():
        for label in labels:
            name = f"train_{len(rows) + 1}"
            path = folder / "glas" / "images" / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(stained(label, random)).save(path)
            rows.append((name, patient, label))
    with (folder / "glas" / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("slide_id", "patient_id", "label"), *rows])
    ink = np.full((256, 256, 3), 245, np.uint8)
    ink[:, 100:150] = (30, 150, 120)
    path = folder / "pen_and_tissue" / "tiles__no-tissue-green-pen.png"
    path.parent.mkdir()
    Image.fromarray(ink).save(path)
    empty = random.normal(243, 1, (512, 512, 3)).astype(np.uint8)
    (folder / SCANNED).parent.mkdir()

    def read_block(x: int, y: int, width: int, height: int) -> NDArray[np.uint8]:
        return empty[y : y + height, x : x + width]

    write_svs(
        folder / SCANNED, width=512, height=512, mpp=0.5, magnification=20, read_block=read_block
    )
    return folder
