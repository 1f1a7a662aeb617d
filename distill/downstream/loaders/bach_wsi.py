"""BACH, part B: whole slides of breast tissue with outlines of benign, in situ and invasive.

Aresta et al., "BACH: Grand challenge on breast cancer histology images", Medical Image Analysis
56:122, 2019. Layout: ``WSI/*.svs`` with an Aperio ``.xml`` of the same name: regions with level-0
vertices. What no outline holds is normal tissue. Read as tiles with a class each; the challenge's
score counts pixels, as `distill.downstream.loaders.bach_regions` does.
"""

import hashlib
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

from distill.downstream.dataset import LabelledImages, index_classes
from distill.downstream.loaders.layout import existing
from distill.errors import LabelledDataError
from wsi.atomic import digest
from wsi.grid import TileGrid, make_grid
from wsi.open import open_slide
from wsi.overview import read_overview
from wsi.plan import TileSpec, plan_read
from wsi.resolution import resolve_mpp
from wsi.slide import Pixels
from wsi.tiles import read_tile
from wsi.tissue import find_tissue, overview_downsample
from wsi.visible import visible

TASK = "bach-wsi"
LICENCE = "CC BY-NC-ND 4.0"
CLASSES = ("normal", "benign", "in situ", "invasive")
SPEC = TileSpec(size_px=512, mpp=0.5)
MOST = 0.5  # a tile has the class that covers more than this share of it; a mixed one is left out


@dataclass(frozen=True, slots=True)
class SlideTiles:
    """Tiles of several slides, read when asked for: slide number and grid for each slide."""

    paths: tuple[Path, ...]
    grids: tuple[TileGrid, ...]
    chosen: tuple[tuple[int, int], ...]  # (slide, tile in its grid)

    def __len__(self) -> int:
        return len(self.chosen)

    def read(self, index: int) -> Pixels:
        """One tile, (512, 512, 3)."""
        number, tile = self.chosen[index]
        grid = self.grids[number]
        x, y = grid.coords[tile].tolist()
        with open_slide(self.paths[number]) as slide:
            return read_tile(slide, spec=grid.spec, plan=grid.plan, x=x, y=y)

    def digest(self) -> str:
        """Of the slides' bytes and of where the tiles are."""
        files = "".join(map(digest, self.paths))
        corners = [self.grids[number].coords[tile].tolist() for number, tile in self.chosen]
        return hashlib.sha256(f"{files} {corners}".encode()).hexdigest()


def load_bach_wsi(folder: Path) -> LabelledImages:
    """Lay tiles over the tissue of every outlined slide; the slide stands for the patient.

    Raises
    ------
    LabelledDataError
        If there is no outlined slide, or an outline has no known class.
    SlideError
        If a slide cannot be opened.
    """
    paths = outlined_slides(folder)
    grids, chosen, names = [], [], []
    for number, path in enumerate(paths):
        grid = lay_grid(path)
        grids.append(grid)
        for tile, name in enumerate(classify(grid, read_outlines(path.with_suffix(".xml")))):
            if name is not None:
                chosen.append((number, tile))
                names.append(name)
    corners = [grids[number].coords[tile].tolist() for number, tile in chosen]
    owners = [paths[number].stem for number, _ in chosen]
    return LabelledImages(
        name=TASK,
        images=SlideTiles(paths, tuple(grids), tuple(chosen)),
        sample_ids=tuple(f"{o}-{x}-{y}" for o, (x, y) in zip(owners, corners, strict=True)),
        classes=CLASSES,
        targets=index_classes(names, CLASSES, task=TASK),
        patient_ids=tuple(owners),
        splits=None,
        mpp=SPEC.mpp,
        licence=LICENCE,
    )


def outlined_slides(folder: Path) -> tuple[Path, ...]:
    """Slides of the published folder that have an outline file beside them.

    Raises
    ------
    LabelledDataError
        If there is none.
    """
    wsi = existing(folder / "WSI", task=TASK, wanted="WSI/*.svs with an .xml beside each")
    paths = tuple(path for path in visible(wsi, "*.svs") if path.with_suffix(".xml").is_file())
    if not paths:
        raise LabelledDataError(f"{TASK}: no .svs in {wsi} has an .xml beside it")
    return paths


def read_outlines(path: Path) -> dict[str, BaseGeometry]:
    """Outlines by class, in level-0 pixels, those of a class united.

    The class is the region's first attribute, or its text: ``"Carcinoma in situ"`` and the like.

    Raises
    ------
    LabelledDataError
        If a region's class is none of the three, or the file is no XML.
    """
    try:
        root = ElementTree.parse(path).getroot()
    except ElementTree.ParseError as error:
        raise LabelledDataError(f"{TASK}: {path} is not valid XML: {error}") from error
    found: dict[str, list[BaseGeometry]] = {}
    for region in root.iter("Region"):
        attribute = region.find("Attributes/Attribute")
        text = (attribute.get("Value") if attribute is not None else region.get("Text")) or ""
        name = next((name for name in CLASSES[1:] if name in text.lower()), None)
        if name is None:
            raise LabelledDataError(
                f"{TASK}: {path} outlines {text!r}, wanted {', '.join(CLASSES[1:])}"
            )
        corners = [
            (float(v.get("X", "nan")), float(v.get("Y", "nan"))) for v in region.iter("Vertex")
        ]
        if len(corners) > 2:
            # What people draw crosses itself.
            found.setdefault(name, []).append(shapely.make_valid(shapely.Polygon(corners)))
    return {name: shapely.union_all(shapes) for name, shapes in found.items()}


def classify(grid: TileGrid, outlines: dict[str, BaseGeometry]) -> list[str | None]:
    """The class of each tile of a grid: what covers most of it, None where nothing does.

    Where outlines overlap, the later of `CLASSES` holds, which is the graver.
    """
    size = grid.plan.level0_px
    x, y = grid.coords.T.astype(np.float64)
    tiles = shapely.box(x, y, x + size, y + size)
    shares = np.zeros((len(CLASSES), len(tiles)))
    graver: BaseGeometry = shapely.Polygon()
    for number, name in reversed(list(enumerate(CLASSES))):
        if name in outlines:
            alone = shapely.difference(outlines[name], graver)
            shares[number] = shapely.area(shapely.intersection(tiles, alone)) / size**2
            graver = shapely.union(graver, outlines[name])
    shares[CLASSES.index("normal")] = 1 - shares.sum(0)
    best = shares.argmax(0)
    return [
        CLASSES[number] if share > MOST else None
        for number, share in zip(best.tolist(), shares.max(0).tolist(), strict=True)
    ]


def lay_grid(path: Path) -> TileGrid:
    """Tiles of `SPEC` on the tissue of a slide."""
    with open_slide(path) as slide:
        mpp = resolve_mpp(slide.properties).mpp
        downsample = overview_downsample(slide.dimensions, level0_mpp=mpp)
        tissue = find_tissue(read_overview(slide, downsample=downsample), level0_mpp=mpp)
        plan = plan_read(SPEC, level0_mpp=mpp, downsamples=slide.level_downsamples)
        return make_grid(dimensions=slide.dimensions, spec=SPEC, plan=plan, tissue=tissue)
