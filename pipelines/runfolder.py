"""What a run's folder holds, finished or not: its settings and one record a slide."""

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipelines.errors import UsageError
from pipelines.journal import JOURNAL_NAME, read_journal
from pipelines.output import check_local
from pipelines.records import SlideRecord, stream_records
from wsi.atomic import TMP_MARK

RECORDS_NAME = "slides.parquet"
INFO_NAME = "run.json"
REPORT_NAME = "report.html"
SLIDES_NAME = "slides"
IMAGE_NAME = "image.ome.zarr"
HEATMAP_NAME = "heatmap.ome.zarr"
HEATMAP_PICTURE_NAME = "heatmap.png"
TILES_NAME = "tiles.h5"
TISSUE_NAME = "tissue.geojson"
PREDICTION_NAME = "prediction.json"
NUCLEI_NAME = "nuclei.parquet"
NUCLEI_GEOJSON_NAME = "nuclei.geojson"
SEGMENTATION_NAME = "segmentation.json"
SEGMENTATION_GEOJSON_NAME = "segmentation.geojson"
SEGMENTATION_PICTURE_NAME = "segmentation.png"
TRACEBACK_NAME = "traceback.txt"
UNFINISHED = "unfinished"  # the verdict of a slide that a run is not through with
NOTICE = "Research use only. Not a medical device."


def tiles_name(model: str = "") -> str:
    """The file of the embeddings by a further model of a run, or by its first."""
    return f"tiles.{model}.h5" if model else TILES_NAME


def image_path(out: Path, slide_id: str) -> Path:
    """Where a run in the folder `out` puts the pyramid of a slide."""
    return out / SLIDES_NAME / slide_id / IMAGE_NAME


class NotARunError(UsageError, FileNotFoundError):
    """A folder is missing, or holds nothing that a run writes."""

    kind = "not_a_run"


class UnsafeNameError(UsageError):
    """A name that was read from a run leads out of the folder that it belongs to."""

    kind = "unsafe_name"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFolder:
    """A run as its folder shows it.

    Attributes
    ----------
    path
        The folder.
    info
        `run.json`; empty where there is none yet.
    records
        One a slide. Before the run is finished, those in its journal, and one with the verdict
        `UNFINISHED` for each other folder below ``slides``.
    is_finished
        Whether every slide has its verdict.
    """

    path: Path
    info: Mapping[str, Any]
    records: tuple[SlideRecord, ...]
    is_finished: bool

    @property
    def counts(self) -> dict[str, int]:
        """Slides by verdict; ``ok``, ``partial`` and ``failed`` are always there."""
        counts = {"ok": 0, "partial": 0, "failed": 0}
        for record in self.records:
            counts[record.verdict] = counts.get(record.verdict, 0) + 1
        return counts

    def slide_folder(self, slide_id: str) -> Path | None:
        """See `slide_folder`."""
        return slide_folder(self.path, slide_id)


def slide_folder(run: Path, slide_id: str) -> Path | None:
    """A slide's folder in that of a run, None where it has none.

    An id that is more than the name of a folder (``../x``) has none, whatever is there.
    """
    folder = run / SLIDES_NAME / slide_id
    return folder if is_folder_name(slide_id) and folder.is_dir() else None


def is_folder_name(slide_id: str) -> bool:
    """Whether an id is the name of a folder, and not the way to another one (``../x``)."""
    return slide_id not in ("", ".", "..") and not any(c in slide_id for c in "/\\\0")


def read_run(path: Path) -> RunFolder:
    """Read what is there of a run.

    Raises
    ------
    NotARunError
        If `path` is no folder, or none of a run's.
    UsageError
        If it is a URL.
    DamagedError
        If the journal of an unfinished run is.
    """
    path = Path(path)
    return RunFolder(
        path=path,
        records=tuple(stream_run(path)),
        info=read_json(path / INFO_NAME),
        is_finished=is_finished(path),
    )


def not_a_run(path: Path) -> NotARunError:
    """The error that says so."""
    return NotARunError(
        f"{path} is not the folder of a run: it has no {INFO_NAME}, {RECORDS_NAME} or "
        f"{SLIDES_NAME}/ (give the folder that 'raypath run' wrote to with -o)"
    )


def is_finished(run: Path) -> bool:
    """Whether every slide of a run has its verdict."""
    return (run / RECORDS_NAME).exists()


def stream_run(path: Path) -> Iterator[SlideRecord]:
    """The records of a run, of a finished one without holding them all; see `RunFolder`.

    Raises
    ------
    NotARunError
        If `path` is no folder, or none of a run's.
    DamagedError
        If the journal of an unfinished run is.
    """
    check_local(path)
    if not any((path / name).exists() for name in (INFO_NAME, RECORDS_NAME, SLIDES_NAME)):
        raise not_a_run(path)
    records = stream_records(path / RECORDS_NAME) if is_finished(path) else _unfinished(path)
    return map(_without_nan, records)


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object with null for NaN; empty where there is no file, or no object in it."""
    try:
        loaded = json.loads(path.read_text(encoding="utf-8"), parse_constant=lambda _: None)
    except (OSError, ValueError):
        return {}
    return loaded if isinstance(loaded, dict) else {}


def _unfinished(path: Path) -> Iterable[SlideRecord]:
    """The journal of a run that is under way, and a record for each other slide's folder."""
    finished = {record.slide_id: record for record, _ in read_journal(path / JOURNAL_NAME)}
    folders = (path / SLIDES_NAME).glob("*")
    names = {f.name for f in folders if f.is_dir() and not f.name.startswith(TMP_MARK)}
    under_way = [_of_folder(path / SLIDES_NAME / name) for name in sorted(names - finished.keys())]
    return (*finished.values(), *under_way)


def _of_folder(folder: Path) -> SlideRecord:
    prediction = read_json(folder / PREDICTION_NAME)
    return SlideRecord(
        slide_id=folder.name,
        path="",
        verdict=UNFINISHED,
        message="The run is not through with it.",
        prediction=prediction.get("prediction"),
        score=(prediction.get("scores") or {}).get(prediction.get("positive")),
        n_tiles=prediction.get("n_tiles"),
    )


def _without_nan(record: SlideRecord) -> SlideRecord:
    """The record with None for a number that is not finite: JSON has no word for it."""
    return replace(
        record,
        mpp=_finite(record.mpp),
        tissue_mm2=_finite(record.tissue_mm2),
        nuclei_per_mm2=_finite(record.nuclei_per_mm2),
        score=_finite(record.score),
        segmented_mm2={k: v for k, v in record.segmented_mm2.items() if math.isfinite(v)},
    )


def _finite(number: float | None) -> float | None:
    return number if number is not None and math.isfinite(number) else None
