"""Which readers of this environment open a pyramid, and see in it what the slide holds.

python benchmarks/readers.py SLIDE PYRAMID... [--node FOLDER]

A row for each reader that can be imported: the mean difference of level 0 and of the coarsest
level from OpenSlide's pixels (0: to the bit), mpp, axes, and whether it finds the tissue label.
Needs openslide-python and openslide-bin beside the reader, nothing of raypath, and a small slide:
levels are read whole. FOLDER is where npm has put zarrita, @hms-dbmi/viv and ome-zarr.js.
"""

import argparse
import importlib
import json
from collections.abc import Callable
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import openslide
from openers import LIBRARIES, READERS, Seen, read_node


def main() -> None:
    """Try and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("slide", type=Path)
    parser.add_argument("pyramids", nargs="+", type=Path)
    parser.add_argument("--node", type=Path)
    given = parser.parse_args()
    true = levels_of(given.slide)
    print("| reader | pyramid | level 0 | coarsest | mpp | axes | tissue |")
    for path in given.pyramids:
        for name, (module, reader) in READERS.items():
            try:
                label = f"{name} {version(name)}"
            except PackageNotFoundError:
                continue
            print_row(label, path, partial(reader, path, importlib.import_module(module)), true)
        for name in LIBRARIES if given.node else ():
            package = given.node / "node_modules" / name / "package.json"
            label = f"{name} {json.loads(package.read_text(encoding='utf-8'))['version']}"
            print_row(label, path, partial(read_node, path, given.node, name), true)


def print_row(label: str, path: Path, read: Callable[[], Seen], true: list[Any]) -> None:
    """One reader and one pyramid, or the reader's words why not."""
    where = f"{path.parent.name}/{path.stem}"
    try:
        fine, coarse, *said = read()
        found = [difference(pixels, true) for pixels in (fine, coarse)]
    except Exception as error:  # whatever a reader says is what is asked for here
        print(f"| {label} | {where} | {type(error).__name__}: {str(error)[:300]!r} |")
        return
    cells = [*found, *("-" if value is None else str(value) for value in said)]
    print(f"| {label} | {where} | {' | '.join(cells)} |")


def levels_of(slide: Path) -> list[Any]:
    """(3, h, w) pixels of the slide's levels and of their halvings, as OpenSlide decodes them."""
    with openslide.OpenSlide(slide) as handle:
        images = [
            handle.read_region((0, 0), n, size).convert("RGB")
            for n, size in enumerate(handle.level_dimensions)
        ]
    levels = [np.asarray(image).transpose(2, 0, 1) for image in images]
    for level in list(levels):
        halved = level
        while max(halved.shape) > 256:
            rows, columns = halved.shape[1] % 2, halved.shape[2] % 2
            sums = np.pad(halved, ((0, 0), (0, rows), (0, columns)), mode="edge").astype(np.uint16)
            sums = sums[:, ::2, ::2] + sums[:, 1::2, ::2] + sums[:, ::2, 1::2] + sums[:, 1::2, 1::2]
            halved = ((sums + 2) // 4).astype(np.uint8)
            levels.append(halved)
    return levels


def difference(pixels: Any, true: list[Any]) -> str:
    """Mean difference from the likest of the true levels with that shape; "-" without pixels."""
    if pixels is None:
        return "-"
    pixels = np.asarray(pixels)
    like = [level for level in true if level.shape == pixels.shape]
    if not like:
        return f"shape {pixels.shape}"
    return f"{min(np.abs(pixels.astype(int) - level).mean() for level in like):.3g}"


if __name__ == "__main__":
    main()
