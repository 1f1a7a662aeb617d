"""`predictions.parquet`: the logits of every slide that a head did not learn from."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.mil.labels import Labelled
from wsi.atomic import replacing

PREDICTIONS_NAME = "predictions.parquet"
COLUMNS = [
    ("slide_id", pa.string()),
    ("patient_id", pa.string()),
    ("fold", pa.int32()),
    ("seed", pa.int32()),
    ("split", pa.string()),
    ("target", pa.string()),
    ("classes", pa.list_(pa.string())),
    ("logits", pa.list_(pa.float64())),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """What one head says of one slide: a logit for each of `classes`; split is tune or test."""

    slide: Labelled
    fold: int
    seed: int
    split: str
    classes: tuple[str, ...]
    logits: tuple[float, ...]


def write_predictions(path: Path, predictions: Sequence[Prediction]) -> None:
    """Write one row a prediction; the labels' other columns are carried along as text."""
    carried = list(predictions[0].slide.carried) if predictions else []
    schema = pa.schema([*COLUMNS, *((name, pa.string()) for name in carried)])
    rows = [
        {
            "slide_id": p.slide.slide_id,
            "patient_id": p.slide.patient_id,
            "fold": p.fold,
            "seed": p.seed,
            "split": p.split,
            "target": p.slide.target,
            "classes": list(p.classes),
            "logits": list(p.logits),
            **p.slide.carried,
        }
        for p in predictions
    ]
    with replacing(path) as tmp:
        pq.write_table(pa.Table.from_pylist(rows, schema), tmp, compression="zstd")
