"""Looking at one slide before a run: whether it will fail, and how much there is to do."""

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from distill.segmentation.card import read_segmenter_card
from distill.teachers.card import read_teacher_card
from pipelines.area import in_mm2
from pipelines.blockwise.frame import lay_frame
from pipelines.check.tissue import drawn_tissue
from pipelines.cohort.manifest import Entry
from pipelines.settings.config import RunConfig
from pipelines.steps.look import Look, look
from wsi.identity import stored_bytes
from wsi.jpeg.find import find_tiles
from wsi.open import open_slide
from wsi.plan import TileSpec
from wsi.slide import Slide


@dataclass(frozen=True, slots=True, kw_only=True)
class LookTask:
    """A slide, what is to be done to it, and the tiles the model wants; None without a model.

    `results` is where the run puts the slide's files, see `drawn_tissue`.
    """

    entry: Entry
    config: RunConfig
    spec: TileSpec | None
    results: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """How much there is to do for a slide.

    Attributes
    ----------
    is_copied
        Whether the pyramid keeps the slide's own JPEG tiles.
    bytes_in
        Of its files; 0 behind a URL.
    look_seconds
        What opening it and finding its tissue took.
    """

    n_tiles: int
    tissue_mm2: float
    megapixels: float
    is_copied: bool
    bytes_in: int
    look_seconds: float
    flags: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What the check says of a slide; `todo` is None where it will fail."""

    slide_id: str
    path: str
    todo: Work | None = None
    reason: str = ""
    message: str = ""

    @property
    def verdict(self) -> str:
        """``"ok"`` or ``"failed"``."""
        return "failed" if self.todo is None else "ok"

    @property
    def work(self) -> float:
        """Tiles to embed."""
        return self.todo.n_tiles if self.todo else 0

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self) | {"verdict": self.verdict}

    def describe(self) -> str:
        """One line about the slide."""
        if self.todo is None:
            return f"{self.slide_id}: will fail ({self.reason}): {self.message}"
        todo = self.todo
        line = f"{self.slide_id}: ok, {todo.megapixels:.0f} MP, {in_mm2(todo.tissue_mm2)} of tissue"
        line += f", {todo.n_tiles} tiles" if todo.n_tiles else ""
        return line + (f" [{', '.join(todo.flags)}]" if todo.flags else "")


def look_at(task: LookTask) -> Work:
    """Do what a run does with a slide before it reads its pixels.

    Raises
    ------
    RayPathError
        If the run will fail on it.
    """
    # Here, because the driver names this function and does not do it, and these load the networks.
    from pipelines.nuclei.density import density_spec
    from pipelines.steps.embed import is_sparse, lay_grid

    started = time.perf_counter()
    ref = task.entry.ref
    with open_slide(ref) as slide, drawn_tissue(task.results, slide_id=ref.slide_id) as drawn:
        seen = look(slide, ref, edited=drawn)
        spec = task.spec or density_spec(seen.resolution.mpp)
        grid = lay_grid(slide, seen, spec, task.config)
        _check_resolution(slide, seen, task.config)
        width, height = slide.dimensions
        copied = task.config.codec == "auto" and find_tiles(ref.path, slide) is not None
    sparse = ("little_tissue",) if task.spec and is_sparse(grid, task.config) else ()
    return Work(
        n_tiles=len(grid.coords) if task.spec else 0,
        tissue_mm2=seen.tissue_mm2,
        megapixels=width * height / 1e6,
        is_copied=copied,
        bytes_in=stored_bytes(ref.path) or 0,
        look_seconds=time.perf_counter() - started,
        flags=(*seen.flags, *sparse),
    )


def _check_resolution(slide: Slide, seen: Look, config: RunConfig) -> None:
    """Raise as the run does where a slide is too coarse for the teacher or the segmenter."""
    # Here for the same reason as above.
    from pipelines.nuclei.block import CORE_PX as NUCLEI_CORE_PX
    from pipelines.segmentation.lattice import CORE_PX as SEGMENTATION_CORE_PX

    looking: list[tuple[float, int]] = []
    if config.teacher:
        looking.append((read_teacher_card(config.teacher).mpp, NUCLEI_CORE_PX))
    if config.segmenter:
        looking.append((read_segmenter_card(config.segmenter).mpp, SEGMENTATION_CORE_PX))
    for mpp, core_px in looking:
        level0_mpp = seen.resolution.mpp
        lay_frame(slide, level0_mpp=level0_mpp, network_mpp=mpp, core_px=core_px)
