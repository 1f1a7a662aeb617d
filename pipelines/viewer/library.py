"""What the pages ask of a run: its listing, a slide, and that slide's pixels, read when asked."""

import threading
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from pipelines.heatmaps.looked import NAMES, QUALITY
from pipelines.heatmaps.ome_zarr import Heatmap
from pipelines.nuclei.geojson import CELL_PX
from pipelines.pixels import TILE_PX, Pyramid, open_pyramid, version_of, version_of_file
from pipelines.runfolder import (
    HEATMAP_NAME,
    IMAGE_NAME,
    INFO_NAME,
    NUCLEI_NAME,
    PREDICTION_NAME,
    RECORDS_NAME,
    SLIDES_NAME,
    RunFolder,
    is_folder_name,
    read_json,
    read_run,
)
from pipelines.unreadable import unreadable_areas
from pipelines.viewer.overlays import open_heatmap
from pipelines.viewer.segmentation import (
    cached_labels,
    describe_segmentation,
    labels_of,
)
from wsi.errors import RayPathError
from wsi.labels import LabelLevels

KEPT_PREDICTIONS = 100_000  # of what the listing says of each slide: a name and a bool


class UnknownSlideError(RayPathError, LookupError):
    """The run has no slide of that id, or the slide has no such file."""

    kind = "unknown_slide"


@dataclass(slots=True)
class Library:
    """A run that may still be written to: the listing is read again when its file changes."""

    path: Path
    _run: RunFolder = field(init=False)
    _seen: tuple[int, ...] = field(init=False)
    _known: frozenset[str] = field(init=False)
    _lock: threading.Lock = field(init=False, default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._read(self._stamp())

    def run(self, *, fresh: bool = False) -> RunFolder:
        """The run as its listing has it; `fresh` looks into the slides of an unfinished one too."""
        with self._lock:
            stamp = self._stamp()
            if stamp != self._seen or (fresh and not self._run.is_finished):
                self._read(stamp)
            return self._run

    def folder(self, slide_id: str) -> Path:
        """The folder of a slide that is in the listing."""
        run = self.run()
        folder = run.slide_folder(slide_id) if slide_id in self._known else None
        if folder is None:
            raise UnknownSlideError(f"this run has no files of a slide {slide_id!r}")
        return folder

    def pyramid(self, slide_id: str) -> Pyramid:
        """The slide's open pyramid."""
        path, version = self.image(slide_id)
        return open_pyramid(path, version)

    def image(self, slide_id: str) -> tuple[Path, str]:
        """Where the slide's pyramid is, and its version."""
        return self._group(slide_id, IMAGE_NAME)

    def heatmap(self, slide_id: str) -> tuple[Heatmap, str]:
        """The slide's heatmap and its version."""
        path, version = self._group(slide_id, HEATMAP_NAME)
        return open_heatmap(path, version), version

    def nuclei(self, slide_id: str) -> tuple[Path, str]:
        """Where the slide's table of nuclei is, and its version."""
        path = self.folder(slide_id) / NUCLEI_NAME
        version = version_of_file(path)
        if not version:
            raise UnknownSlideError(f"slide {slide_id!r} has no {NUCLEI_NAME}")
        return path, version

    def labels(self, slide_id: str) -> tuple[LabelLevels, str]:
        """The labels of the slide's segmentation and their version."""
        found = labels_of(self.folder(slide_id))
        if found is None:
            raise UnknownSlideError(f"slide {slide_id!r} has no segmentation")
        return cached_labels(*found, level0_mpp=self.pyramid(slide_id).level0_mpp), found[1]

    def listing(self) -> dict[str, Any]:
        """The run, all of its slides, and the class that their scores are for."""
        run = self.run(fresh=True)
        slides, positive = [], None
        for record in run.records:
            folder = self.path / SLIDES_NAME / record.slide_id
            is_known = is_folder_name(record.slide_id)
            named, is_uncertain = _said(folder) if is_known else (None, False)
            positive = positive or named
            has_image = is_known and (folder / IMAGE_NAME / "zarr.json").exists()
            slides.append(record.as_dict() | {"has_image": has_image, "uncertain": is_uncertain})
        return {
            "name": run.path.resolve().name,
            "info": dict(run.info),
            "is_finished": run.is_finished,
            "counts": run.counts,
            "positive": positive,
            "slides": slides,
        }

    def describe(self, slide_id: str) -> dict[str, Any]:
        """A slide: its record, prediction, and the geometry of image and heatmap where it has them.

        Lengths named ``level0_px`` are level-0 pixels; levels are (width, height), finest first,
        and downsamples level-0 pixels per pixel of them.
        """
        run = self.run()
        record = next((r for r in run.records if r.slide_id == slide_id), None)
        if record is None:
            raise UnknownSlideError(f"this run has no slide {slide_id!r}")
        described: dict[str, Any] = record.as_dict() | {
            "image": None,
            "heatmap": None,
            "nuclei": None,
            "segmentation": None,
            "prediction_file": {},
            "measures": QUALITY,
        }
        folder = run.slide_folder(slide_id)
        if folder is None:
            return described
        described["prediction_file"] = read_json(folder / PREDICTION_NAME)
        if version := version_of(folder / IMAGE_NAME):
            pyramid = open_pyramid(folder / IMAGE_NAME, version)
            described["image"] = {
                "version": version,
                "tile_px": TILE_PX,
                "levels": pyramid.level_dimensions,
                "downsamples": pyramid.downsamples,
                "level0_mpp": pyramid.level0_mpp,
                "unreadable": unreadable_areas(pyramid.path),
            }
            described["segmentation"] = describe_segmentation(folder, level0_mpp=pyramid.level0_mpp)
        if version := version_of(folder / HEATMAP_NAME):
            heatmap = open_heatmap(folder / HEATMAP_NAME, version)
            described["heatmap"] = {
                "version": version,
                "rows": heatmap.values.shape[1],
                "columns": heatmap.values.shape[2],
                "cell_level0_px": heatmap.cell_level0_px,
                "channels": [channel.describe() for channel in heatmap.channels],
                "labels": dict(NAMES) if heatmap.looked is not None else None,
            }
        if (folder / NUCLEI_NAME).exists():
            _, version = self.nuclei(slide_id)
            described["nuclei"] = {"version": version, "cell_level0_px": CELL_PX}
        return described

    def _group(self, slide_id: str, name: str) -> tuple[Path, str]:
        path = self.folder(slide_id) / name
        version = version_of(path)
        if not version:
            raise UnknownSlideError(f"slide {slide_id!r} has no {name}")
        return path, version

    def _read(self, stamp: tuple[int, ...]) -> None:
        self._run = read_run(self.path)
        self._known = frozenset(record.slide_id for record in self._run.records)
        self._seen = stamp

    def _stamp(self) -> tuple[int, ...]:
        """Changes when the verdicts are written, and while there are none when a slide begins."""
        stamp = []
        for name in (RECORDS_NAME, INFO_NAME, SLIDES_NAME):
            try:
                stamp.append((self.path / name).stat().st_mtime_ns)
            except OSError:
                stamp.append(0)
        return tuple(stamp)


def _said(folder: Path) -> tuple[str | None, bool]:
    """The class that a slide's score is for, and whether the slide is to be read again."""
    path = folder / PREDICTION_NAME
    try:
        return _read_said(path, path.stat().st_mtime_ns)
    except OSError:
        return None, False


@lru_cache(maxsize=KEPT_PREDICTIONS)
def _read_said(path: Path, mtime_ns: int) -> tuple[str | None, bool]:
    said = read_json(path)
    return said.get("positive"), bool(said.get("uncertain"))
