"""One row a slide: what `slides.parquet`, the report and the viewer say of it."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from itertools import islice
from pathlib import Path
from typing import Any

from pipelines.area import in_mm2
from wsi.atomic import replacing

VERDICTS = ("ok", "partial", "failed")
DICTIONARIES = ("excluded", "segmented_mm2", "seconds")  # fields stored as JSON
ROWS_AT_ONCE = 1000  # of slides.parquet that are in memory


@dataclass(frozen=True, slots=True, kw_only=True)
class SlideRecord:
    """The verdict on a slide and its numbers.

    Attributes
    ----------
    verdict
        ``"ok"``; ``"partial"`` when something of the slide could not be read; ``"failed"``.
    reason, message
        Why it is not ok: a machine-readable kind, and a sentence; empty when it is.
    flags
        What a person should know of an ok slide too, such as ``pen_marks``.
    n_tiles, n_invalid_tiles
        Tiles embedded, and tiles whose bytes did not decode.
    n_excluded_tiles, excluded
        Tiles left out for their quality: how many, and how many by measure.
    n_reused_tiles
        Tiles, embedded or not, that an earlier run in the same folder had dealt with.
    tissue_mm2
        Area of tissue found.
    n_nuclei, nuclei_per_mm2
        Nuclei found, and per square millimetre of the tissue that could be looked at.
    segmented_mm2
        Area of tissue by class, as far as a segmenter could look.
    prediction
        The class the model says: by its frozen operating point, or the most probable.
    score
        Softmax of the logits over the head's temperature for the model's positive class, 0-1:
        calibrated where the head's card says so; None if it has none.
    seconds
        Time by step; of blocks that several workers did, the sum.
    waited_s, worked_s
        Of the embedding's time: until tiles were read, and spent on those that were.
    peak_rss_bytes, peak_is_bound
        The most that a process held while it worked on the slide, and whether it is only known not
        to be more, see `pipelines.memory.Held`; None for a failed slide.
    reused
        Steps whose receipt matched, so that they were not done again.
    """

    slide_id: str
    path: str
    verdict: str
    reason: str = ""
    message: str = ""
    patient_id: str | None = None
    label: str | None = None
    split: str | None = None
    flags: tuple[str, ...] = ()
    vendor: str | None = None
    width: int | None = None
    height: int | None = None
    mpp: float | None = None
    mpp_source: str | None = None
    tissue_mm2: float | None = None
    n_tiles: int | None = None
    n_invalid_tiles: int | None = None
    n_excluded_tiles: int | None = None
    n_reused_tiles: int | None = None
    n_nuclei: int | None = None
    nuclei_per_mm2: float | None = None
    prediction: str | None = None
    score: float | None = None
    waited_s: float | None = None
    worked_s: float | None = None
    peak_rss_bytes: int | None = None
    peak_is_bound: bool | None = None
    excluded: dict[str, int] = field(default_factory=dict)
    segmented_mm2: dict[str, float] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    reused: tuple[str, ...] = ()

    @property
    def work(self) -> float:
        """Tiles embedded; of a run without an encoder, nuclei found, or mm² segmented."""
        if self.n_tiles is None and self.n_nuclei is None:
            return sum(self.segmented_mm2.values())
        return (self.n_nuclei if self.n_tiles is None else self.n_tiles) or 0

    @property
    def new_tiles(self) -> int:
        """Tiles embedded by this run, not an earlier one in the same folder.

        Of a slide of which only some were known, tiles that this run left out may be counted in:
        nobody noted of which kind the known ones were.
        """
        kept = self.n_tiles or 0
        dealt_with = kept + (self.n_invalid_tiles or 0) + (self.n_excluded_tiles or 0)
        return max(0, min(kept, dealt_with - (self.n_reused_tiles or 0)))

    @property
    def is_reused(self) -> bool:
        """Whether every step had been done before."""
        return bool(self.reused) and self.seconds.keys() <= set(self.reused)

    def as_dict(self) -> dict[str, Any]:
        """The record as JSON has it."""
        return {each.name: getattr(self, each.name) for each in fields(self)}

    def describe(self) -> str:
        """One line about the slide."""
        if self.verdict == "failed":
            return f"{self.slide_id}: failed ({self.reason}): {self.message}"
        line = f"{self.slide_id}: {self.verdict}"
        if self.n_nuclei is not None:
            line += f", {self.n_nuclei} nuclei"
        if self.n_tiles is not None:
            line += f", {self.n_tiles} tiles"
        if self.segmented_mm2:
            areas = (f"{name} {in_mm2(mm2)}" for name, mm2 in self.segmented_mm2.items())
            line += f", {', '.join(areas)}"
        if self.prediction is not None:
            line += f", {self.prediction}"
        if self.score is not None:
            line += f", score {self.score:.3f}"
        if self.reason:
            line += f" ({self.reason}: {self.message})"
        return line + (f" [{', '.join(self.flags)}]" if self.flags else "")


def record_from(values: Mapping[str, Any]) -> SlideRecord:
    """The record that `as_dict` gave, after a way through JSON.

    Raises
    ------
    LookupError, TypeError
        If they are no record's.
    """
    sequences = {name: tuple(values[name]) for name in ("flags", "reused")}
    return SlideRecord(**{**values, **sequences})


def write_records(path: Path, records: Iterable[SlideRecord]) -> None:
    """Write `slides.parquet`, one row a slide; dictionaries are JSON strings.

    Records are taken as they are written, so that a long cohort's need not be in memory. Bytes of
    a path that are not UTF-8 are spelled out: one badly named file must not cost the verdicts on
    all the others.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    types = {"width": pa.int64(), "height": pa.int64(), "mpp": pa.float64(), "score": pa.float64()}
    types |= {"n_tiles": pa.int64(), "n_invalid_tiles": pa.int64(), "tissue_mm2": pa.float64()}
    types |= {"n_excluded_tiles": pa.int64()}
    types |= {"waited_s": pa.float64(), "worked_s": pa.float64()}
    types |= {"n_nuclei": pa.int64(), "nuclei_per_mm2": pa.float64()}
    types |= {"n_reused_tiles": pa.int64()}
    types |= {"peak_rss_bytes": pa.int64(), "peak_is_bound": pa.bool_()}
    types |= {"flags": pa.list_(pa.string()), "reused": pa.list_(pa.string())}
    schema = pa.schema([(f.name, types.get(f.name, pa.string())) for f in fields(SlideRecord)])
    coming = iter(records)
    with replacing(path) as tmp, pq.ParquetWriter(tmp, schema) as table:
        while rows := [_as_row(record) for record in islice(coming, ROWS_AT_ONCE)]:
            table.write_table(pa.Table.from_pylist(rows, schema=schema))


def stream_records(path: Path) -> Iterator[SlideRecord]:
    """Read `slides.parquet` back, some rows at a time."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as table:
        for batch in table.iter_batches(batch_size=ROWS_AT_ONCE):
            for row in batch.to_pylist():
                for name in DICTIONARIES:
                    row[name] = json.loads(row.get(name) or "{}")  # earlier versions had fewer
                row["flags"], row["reused"] = tuple(row["flags"] or ()), tuple(row["reused"] or ())
                yield SlideRecord(**row)


def read_records(path: Path) -> tuple[SlideRecord, ...]:
    """All of `slides.parquet`."""
    return tuple(stream_records(path))


def _as_row(record: SlideRecord) -> dict[str, Any]:
    values = record.as_dict()
    values |= {name: json.dumps(values[name]) for name in DICTIONARIES}
    return {name: _as_utf8(value) for name, value in values.items()}


def _as_utf8(value: Any) -> Any:
    """Text with its lone surrogates spelled out; anything else as it is."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    return value
