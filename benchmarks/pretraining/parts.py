"""Predictions on disk: one Parquet file a unit of work, there whole or not at all."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from wsi.atomic import replacing
from wsi.errors import RayPathError

Kind = Literal["predictions", "overlaps", "regions"]
KEY = b"raypath.key"
SECONDS = b"raypath.seconds"

_UNIT = [
    ("encoder", pa.string()),
    ("objective", pa.string()),
    ("architecture", pa.string()),
    ("encoder_seed", pa.int32()),
    ("task", pa.string()),
    ("probe", pa.string()),
    ("fraction", pa.float32()),
    ("seed", pa.int32()),
    ("fold", pa.int32()),
    ("setting", pa.string()),
    ("sample_id", pa.string()),
    ("patient_id", pa.string()),
]
SCHEMAS: Mapping[Kind, pa.Schema] = {
    # `prob` is in the order of `classes`.
    "predictions": pa.schema(
        [
            *_UNIT,
            ("target", pa.string()),
            ("predicted", pa.string()),
            ("classes", pa.list_(pa.string())),
            ("prob", pa.list_(pa.float32())),
        ]
    ),
    "overlaps": pa.schema(
        [
            *_UNIT,
            ("predicted_px", pa.int64()),
            ("actual_px", pa.int64()),
            ("both_px", pa.int64()),
            ("aji", pa.float32()),  # null of images where neither has nuclei
        ]
    ),
    # `confusion` is pixels by true and given class, row by row, in the order of `classes`.
    "regions": pa.schema(
        [*_UNIT, ("classes", pa.list_(pa.string())), ("confusion", pa.list_(pa.int64()))]
    ),
}
TEXT = [name for name, kind in _UNIT if kind == pa.string()]


class NoResultsError(RayPathError, FileNotFoundError):
    """A folder holds no predictions."""

    kind = "no_results"


class MixedResultsError(RayPathError, ValueError):
    """Predictions that would be pooled were made from other weights, data or settings."""

    kind = "mixed_results"


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """What is computed, stored and skipped as a whole."""

    encoder: str
    objective: str
    architecture: str
    encoder_seed: int
    task: str
    probe: str
    fraction: float
    seed: int

    def path(self, out: Path, kind: Kind) -> Path:
        """Its file below the folder of results."""
        name = f"{self.probe}-{percent(self.fraction)}pc-seed{self.seed}.parquet"
        return out / kind / self.encoder / self.task / name

    def columns(self) -> dict[str, Any]:
        """The columns that are the same in all its rows."""
        return {name: getattr(self, name) for name in Unit.__slots__}


def percent(fraction: float) -> str:
    """A share of the labels in percent, as names and tables have it: 5, 25, 2.5."""
    return f"{100 * fraction:g}"


def key_of(**facts: Any) -> str:
    """SHA-256 of everything a unit's predictions depend on."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()


def is_done(path: Path, key: str) -> bool:
    """Whether the file is there and was made from the same encoder, data and settings."""
    return path.is_file() and (pq.read_schema(path).metadata or {}).get(KEY) == key.encode()


def write_part(
    path: Path, kind: Kind, rows: Sequence[Mapping[str, Any]], *, key: str, seconds: float
) -> None:
    """Write a unit's rows, with what they depend on and how long they took."""
    schema = SCHEMAS[kind].with_metadata({KEY: key, SECONDS: f"{seconds:.3f}"})
    with replacing(path) as tmp:
        pq.write_table(pa.Table.from_pylist(list(rows), schema), tmp, compression="zstd")


def write_noted(path: Path, table: pa.Table) -> None:
    """Write a table of what is noted beside the parts, whole or not at all."""
    with replacing(path) as tmp:
        pq.write_table(table, tmp)


def read_noted(path: Path) -> list[dict[str, Any]]:
    """The rows of such a table; none where it was never written."""
    return pq.read_table(path).to_pylist() if path.is_file() else []


def read_parts(out: Path, kind: Kind) -> pd.DataFrame:
    """Rows of every part, in a fixed order.

    Raises
    ------
    NoResultsError
        If there is none.
    MixedResultsError
        If the seeds of a probe and share of the labels are not all of the same weights, data and
        settings, or a file is not of the share in its name.
    """
    paths = sorted((out / kind).rglob("*.parquet"))
    paths = [path for path in paths if not path.name.startswith(".")]
    if not paths:
        raise NoResultsError(
            f"no Parquet in {out / kind}: run 'raypath benchmark pretraining' first"
        )
    tables = [pq.read_table(path) for path in paths]
    _refuse_misnamed(paths, tables)
    _refuse_mixed(paths, tables)
    table = pa.concat_tables(table.replace_schema_metadata() for table in tables)
    frame = table.to_pandas(categories=TEXT)
    frame["fraction"] = _exact(frame["fraction"])
    return frame


def _exact(fractions: "pd.Series[float]") -> "pd.Series[float]":
    """Shares as they were asked for, which are stored with seven digits."""
    return fractions.astype(float).round(6)


def _refuse_misnamed(paths: Sequence[Path], tables: Sequence[pa.Table]) -> None:
    """Refuse files named by a rounded share, which would be taken for those of another one."""
    for path, table in zip(paths, tables, strict=True):
        share = percent(_exact(table["fraction"].to_pandas()).iloc[0])
        probe, _, named = path.stem.rpartition("-seed")[0].rpartition("-")
        if named != f"{share}pc":
            name = path.name.replace(f"{probe}-{named}", f"{probe}-{share}pc")
            raise MixedResultsError(
                f"{path} is of {share}% of the labels: rename it to {name}, or remove it and run "
                "'raypath benchmark pretraining' again"
            )


def _refuse_mixed(paths: Sequence[Path], tables: Sequence[pa.Table]) -> None:
    """Refuse seeds that an earlier run left and a later one, with fewer seeds, did not replace."""
    firsts: dict[Path, tuple[Path, bytes | None]] = {}
    for path, table in zip(paths, tables, strict=True):
        key = (table.schema.metadata or {}).get(KEY)
        # Shares of the labels are not pooled, and may be measured by settings of their own.
        pooled = path.with_name(path.stem.rpartition("-seed")[0])
        first, expected = firsts.setdefault(pooled, (path, key))
        if key != expected:
            raise MixedResultsError(
                f"{path.parent}: {path.name} is of other weights, data or settings than "
                f"{first.name}: run 'raypath benchmark pretraining' again with at least as many "
                "--seeds as before, or remove the files of the earlier run"
            )


def read_seconds(out: Path) -> dict[str, float]:
    """Seconds that the probes of each encoder took, embedding left out."""
    total: dict[str, float] = {}
    for kind in SCHEMAS:
        for path in sorted((out / kind).glob("*/*/*.parquet")):
            encoder = path.parent.parent.name
            metadata = pq.read_schema(path).metadata
            total[encoder] = total.get(encoder, 0) + float(metadata[SECONDS])
    return total
