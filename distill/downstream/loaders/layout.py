"""Finding what a published layout says is there, and saying what is not."""

import csv
from collections.abc import Sequence
from pathlib import Path

from distill.errors import LabelledDataError
from wsi.visible import IMAGE_SUFFIXES, visible_images


def existing(path: Path, *, task: str, wanted: str) -> Path:
    """`path`, if it is there.

    Raises
    ------
    LabelledDataError
        Naming the layout that was wanted.
    """
    if not path.exists():
        raise LabelledDataError(f"{task}: {path} is not there; wanted {wanted}")
    return path


def class_folders(root: Path, classes: Sequence[str], *, task: str) -> tuple[list[Path], list[str]]:
    """Images of ``root/<class>/`` with the class of each.

    Raises
    ------
    LabelledDataError
        If a class has no folder or no image.
    """
    paths: list[Path] = []
    names: list[str] = []
    for name in classes:
        folder = existing(root / name, task=task, wanted=f"a folder a class: {', '.join(classes)}")
        found = visible_images(folder)
        if not found:
            raise LabelledDataError(
                f"{task}: {folder} holds no image ({', '.join(sorted(IMAGE_SUFFIXES))})"
            )
        paths += found
        names += [name] * len(found)
    return paths, names


def read_table(path: Path, columns: Sequence[str], *, task: str) -> list[dict[str, str]]:
    """Rows of a CSV file with a header; names and values without spaces around them.

    Raises
    ------
    LabelledDataError
        If the file or one of `columns` is missing.
    """
    existing(path, task=task, wanted=f"a CSV file with columns {', '.join(columns)}")
    with path.open(newline="", encoding="utf-8-sig") as stream:
        rows = list(csv.reader(stream))
    header = [name.strip() for name in rows[0]] if rows else []
    missing = [name for name in columns if name not in header]
    if missing:
        raise LabelledDataError(f"{task}: {path} lacks columns {missing}; it has {header}")
    return [
        dict(zip(header, (value.strip() for value in row), strict=True)) for row in rows[1:] if row
    ]
