"""Labelled images from a folder: images/ + masks/, or GlaS as it was published."""

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from distill.downstream.loaders import glas
from distill.downstream.loaders.layout import read_table
from distill.errors import LabelledDataError
from distill.segmentation.images import UNKNOWN, ClassImage, ClassImages
from distill.teachers.cases import CASES_NAME, cases_of
from distill.teachers.labelled import read_numbers, read_pixels
from wsi.atomic import replacing
from wsi.visible import images_by_stem, visible, visible_images

CLASSES_NAME = "classes.csv"  # value,name: what the numbers in the masks mean
UNKNOWN_NAMES = ("unknown", "ignore")  # of pixels that nobody labelled
UNKNOWN_VALUE = 255  # means the same where no table says otherwise
GLAND_CLASSES = ("background", "gland")
KNOWN = (
    "images/ + masks/ with files of the same stem and a number a pixel, named in "
    f"{CLASSES_NAME} (columns value, name) or by --classes; or GlaS with its *_anno.bmp"
)


def read_class_images(
    folder: Path, *, classes: Sequence[str] = (), mpp: float | None = None
) -> ClassImages:
    """Read every labelled image of a folder.

    Parameters
    ----------
    classes
        Names of the mask values 0, 1, 2 …, where there is no `CLASSES_NAME`.
    mpp
        µm per pixel of images whose layout does not say it.

    Raises
    ------
    LabelledDataError
        If the folder has neither layout, or a file does not fit it.
    """
    if visible(folder, "*_anno.bmp"):
        return _read_glas(folder)
    if not (folder / "images").is_dir() or not (folder / "masks").is_dir():
        raise LabelledDataError(f"{folder} holds no labelled images in a known layout: {KNOWN}")
    index_of, names = _meanings(folder, classes)
    return ClassImages(classes=names, images=list(_read_folder(folder, index_of, names, mpp)))


def read_unlabelled(folder: Path, *, mpp: float | None = None) -> list[ClassImage]:
    """Read the images of a folder, with every pixel `UNKNOWN`; labels beside them are not used.

    Parameters
    ----------
    folder
        Of images, with `cases.csv` among them; or any layout of `read_class_images`, or the
        ``images/`` of one, so that each image is of the same case here and there.
    mpp
        µm per pixel of images whose layout does not say it.

    Raises
    ------
    LabelledDataError
        If there is none, or `cases.csv` does not fit them.
    """
    if visible(folder, "*_anno.bmp"):
        return [_without_labels(image) for image in _read_glas(folder).images]
    root = folder / "images" if (folder / "images").is_dir() else folder
    paths = visible_images(root)
    if not paths:
        raise LabelledDataError(f"{folder} holds no images to label")
    beside = root.name == "images" and not (root / CASES_NAME).is_file()
    cases = cases_of(root.parent if beside else root, [path.stem for path in paths])
    images = []
    for path in paths:
        pixels = read_pixels(path)
        classes = np.full(pixels.shape[:2], UNKNOWN, np.int32)
        images.append(
            ClassImage(
                pixels=pixels, classes=classes, name=path.stem, case=cases[path.stem], mpp=mpp
            )
        )
    return images


def _without_labels(image: ClassImage) -> ClassImage:
    return replace(image, classes=np.full_like(image.classes, UNKNOWN), objects=None)


def _read_glas(folder: Path) -> ClassImages:
    published = glas.load_glas(folder)
    splits: Sequence[str | None] = published.splits or [None] * len(published)
    images = []
    for number, (name, case, split) in enumerate(
        zip(published.sample_ids, published.owners, splits, strict=True)
    ):
        glands = glas.read_glands(folder, name).astype(np.int32)
        images.append(
            ClassImage(
                pixels=np.array(published.images.read(number)),  # one that may be written
                classes=(glands > 0).astype(np.int32),
                objects=glands,
                name=name,
                case=f"patient {case}",
                mpp=published.mpp,
                split=split,
            )
        )
    return ClassImages(classes=GLAND_CLASSES, images=images, licence=published.licence)


def _read_folder(
    folder: Path, index_of: Mapping[int, int], names: Sequence[str], mpp: float | None
) -> Iterator[ClassImage]:
    images, masks, objects = (
        images_by_stem(folder / kind) for kind in ("images", "masks", "instances")
    )
    alone = sorted(set(images) ^ set(masks))
    if alone or not images:
        raise LabelledDataError(
            f"{folder}: {len(images)} images, {len(masks)} masks; without a partner of the same "
            f"stem: {', '.join(alone[:5]) or 'none'}"
        )
    cases = cases_of(folder, list(images))
    for stem, path in images.items():
        values = read_numbers(masks[stem])
        yield ClassImage(
            pixels=read_pixels(path),
            classes=_to_classes(values, index_of, names, masks[stem]),
            objects=read_numbers(objects[stem]).astype(np.int32) if stem in objects else None,
            name=stem,
            case=cases[stem],
            mpp=mpp,
        )


def _meanings(folder: Path, given: Sequence[str]) -> tuple[dict[int, int], tuple[str, ...]]:
    """The class of each mask value, and the names of the classes in order of their values."""
    path = folder / CLASSES_NAME
    if path.is_file() and given:
        raise LabelledDataError(f"{path} says what the masks mean: --classes is for where it lacks")
    if path.is_file():
        rows = read_table(path, ("value", "name"), task=folder.name)
        try:
            named = sorted((int(row["value"]), row["name"]) for row in rows)
        except ValueError as error:
            raise LabelledDataError(f"{path}: a value is no whole number: {error}") from error
    elif given:
        named = list(enumerate(given))
    else:
        raise LabelledDataError(
            f"{folder}: nothing says what the numbers in masks/ mean; wanted {CLASSES_NAME} with "
            "columns value, name, or --classes background,gland,…"
        )
    meant = [(value, name) for value, name in named if name.lower() not in UNKNOWN_NAMES]
    index_of = {value: index for index, (value, _) in enumerate(meant)}
    index_of |= {value: UNKNOWN for value, name in named if name.lower() in UNKNOWN_NAMES}
    index_of.setdefault(UNKNOWN_VALUE, UNKNOWN)
    return index_of, tuple(name for _, name in meant)


def _to_classes(
    values: NDArray[np.integer], index_of: Mapping[int, int], names: Sequence[str], path: Path
) -> NDArray[np.int32]:
    found, place = np.unique(values, return_inverse=True)
    strange = sorted(set(found.tolist()) - set(index_of))
    if strange:
        known = ", ".join(
            f"{value} {names[index] if index != UNKNOWN else 'unknown'}"
            for value, index in sorted(index_of.items())
        )
        raise LabelledDataError(f"{path} holds values {strange[:5]}; known are {known}")
    return np.array([index_of[value] for value in found.tolist()], np.int32)[place].reshape(
        values.shape
    )


def write_split(path: Path, rows: Iterable[tuple[str, str, str]]) -> None:
    """Write which image was of whom and on which side: image, case, split."""
    with replacing(path) as tmp, tmp.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(("image", "case", "split"))
        writer.writerows(rows)
