"""Images that a small network learns in a minute: dark discs on a light ground."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from distill.segmentation.images import ClassImage
from wsi.slide import Pixels

CLASSES = ("background", "gland")
LIGHT, DARK = (228, 165, 200), (120, 70, 150)


def draw(seed: int, *, size: tuple[int, int] = (96, 128)) -> tuple[Pixels, NDArray[np.int32]]:
    """Pixels (H, W, 3), and glands numbered from 1 (H, W), which do not touch."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: size[0], : size[1]]
    glands = np.zeros(size, np.int32)
    for _ in range(6):
        row, column, radius = rng.uniform(0, size[0]), rng.uniform(0, size[1]), rng.uniform(9, 16)
        inside = np.hypot(y - row, x - column)
        if not glands[inside < radius + 3].any():
            glands[inside < radius] = glands.max() + 1
    pixels = np.where(glands[..., None] > 0, DARK, LIGHT) + rng.normal(0, 6, (*size, 3))
    return pixels.clip(0, 255).astype(np.uint8), glands


def image_of(seed: int, *, case: str | None = None, mpp: float | None = 0.5) -> ClassImage:
    pixels, glands = draw(seed)
    return ClassImage(
        pixels=pixels,
        classes=(glands > 0).astype(np.int32),
        objects=glands,
        name=f"image{seed}",
        case=case or f"case{seed}",
        mpp=mpp,
    )


def write_folder(folder: Path, count: int, *, patients: bool = True) -> Path:
    """`images/` + `masks/` + `classes.csv`; two images a patient."""
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True)
    rows = ["name,case"]
    for number in range(count):
        pixels, glands = draw(number)
        mask = (glands > 0).astype(np.uint8) * 7
        mask[0, 0] = 255
        Image.fromarray(pixels).save(folder / "images" / f"{number}.png")
        Image.fromarray(mask).save(folder / "masks" / f"{number}.png")
        rows.append(f"{number},p{number // 2}")
    (folder / "classes.csv").write_text("value,name\n7,gland\n0,background\n")
    if patients:
        (folder / "cases.csv").write_text("\n".join(rows) + "\n")
    return folder


def write_glas(folder: Path, count: int) -> Path:
    """As GlaS was published: .bmp with instance masks, patients on both sides of the split."""
    folder.mkdir(parents=True)
    rows = ["name,patient ID,grade (GlaS),grade (Sirinukunwattana et al. 2015)"]
    for number in range(count):
        side, grade = ("train", "testA")[number % 2], ("benign", "malignant")[number // 2 % 2]
        pixels, glands = draw(number)
        name = f"{side}_{number}"
        Image.fromarray(pixels).save(folder / f"{name}.bmp")
        Image.fromarray(glands.astype(np.uint8)).save(folder / f"{name}_anno.bmp")
        rows.append(f"{name}, {number % 3}, {grade}, healthy")
    (folder / "Grade.csv").write_text("\n".join(rows) + "\n")
    return folder
