"""MoNuSeg as published: TIFF images and Aperio XML with one polygon a nucleus.

Kumar et al., IEEE Trans Med Imaging 39:1380-1391, 2020. The training set has the folders
`Tissue Images` and `Annotations`, the test set keeps both kinds of files side by side.
"""

from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from skimage.draw import polygon

from distill.errors import LabelledDataError
from distill.teachers.labelled import Instances, Labelled, case_of, read_pixels
from wsi.visible import visible

DESCRIPTION = "MoNuSeg (*.tif + *.xml of the same stem)"


def recognises(folder: Path) -> bool:
    """Whether any TIFF below the folder has an XML file of the same stem."""
    return bool(_pairs(folder))


def read(folder: Path) -> Iterator[Labelled]:
    """Read each image with its polygons; a polygon drawn later lies over earlier ones."""
    for image, annotation in _pairs(folder):
        pixels = read_pixels(image)
        instances, mpp = read_polygons(annotation, (pixels.shape[0], pixels.shape[1]))
        name = image.stem
        yield Labelled(pixels=pixels, instances=instances, name=name, case=case_of(name), mpp=mpp)


def read_polygons(path: Path, shape: tuple[int, int]) -> tuple[Instances, float | None]:
    """Draw the regions of an Aperio annotation on (H, W); also its µm per pixel, if it says so.

    Raises
    ------
    LabelledDataError
        If the file is not XML or a vertex has no coordinates.
    """
    try:
        root = ElementTree.parse(path).getroot()
        regions = [
            [(float(v.attrib["Y"]), float(v.attrib["X"])) for v in region.iter("Vertex")]
            for region in root.iter("Region")
        ]
        mpp = float(root.get("MicronsPerPixel", "0")) or None
    except (ElementTree.ParseError, KeyError, ValueError) as error:
        raise LabelledDataError(f"{path} is not an Aperio annotation: {error!r}") from error
    instances = np.zeros(shape, np.int32)
    for number, vertices in enumerate((v for v in regions if len(v) > 2), start=1):
        rows, columns = np.array(vertices).T
        instances[polygon(rows, columns, shape)] = number  # type: ignore[no-untyped-call]
    return instances, mpp


def _pairs(folder: Path) -> list[tuple[Path, Path]]:
    annotations = {path.stem: path for path in visible(folder, "**/*.xml")}
    images = [p for p in visible(folder, "**/*") if p.suffix.lower() in (".tif", ".tiff")]
    return [(image, annotations[image.stem]) for image in images if image.stem in annotations]
