"""What each pretraining took: seconds of the student's training and of the teacher's answers."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from benchmarks.pretraining.candidates import Candidate
from benchmarks.pretraining.parts import read_noted, write_noted

COSTS_NAME = "costs.parquet"
SCHEMA = pa.schema(
    [
        ("encoder", pa.string()),
        ("objective", pa.string()),
        ("architecture", pa.string()),
        # As the model's card says them; null where it does not.
        ("training_seconds", pa.float64()),
        ("teacher_seconds", pa.float64()),
        ("tiles", pa.float64()),
        ("responses_computed", pa.float64()),
        ("teacher_training_seconds", pa.float64()),
    ]
)
PARTS = ("training", "teacher", "total", "teacher_training")
INTRODUCTION = (
    "Compute-seconds by the models' cards: the training's, and those in which tasks computed the "
    "teacher's responses. A *≥* is before a sum that lacks the responses that an earlier "
    "pretraining had left; — is what a card does not say. The teacher's own training is not in the "
    "sum: it is done once for all its students."
)


def write_costs(out: Path, candidates: Sequence[Candidate]) -> None:
    """Note what the cards of some encoders say; what is noted of others stays."""
    rows = {row["encoder"]: row for row in read_noted(out / COSTS_NAME)}
    rows |= {candidate.name: _row_of(candidate) for candidate in candidates}
    table = pa.Table.from_pylist([rows[name] for name in sorted(rows)], SCHEMA)
    write_noted(out / COSTS_NAME, table)


def read_costs(out: Path) -> pd.DataFrame:
    """One row an encoder, with `total_seconds`, and `is_least` where responses were reused.

    A pretraining without a teacher has 0 seconds of one; one that is not trained took none at all.
    """
    frame = pd.DataFrame(read_noted(out / COSTS_NAME), columns=SCHEMA.names)
    is_random = frame["objective"] == "random"
    training = frame["training_seconds"].mask(is_random & frame["training_seconds"].isna(), 0.0)
    computed, tiles = frame["responses_computed"], frame["tiles"]
    frame["training_seconds"] = training
    frame["teacher_seconds"] = frame["teacher_seconds"].fillna(0.0)
    frame["total_seconds"] = training + frame["teacher_seconds"]
    frame["is_least"] = computed.notna() & (computed < tiles)
    return frame


def cost_lines(costs: pd.DataFrame) -> list[str]:
    """The table of the report, in markdown."""
    if costs.empty:
        return []
    lines = ["## Cost of pretraining", "", INTRODUCTION, ""]
    lines += ["| encoder | training, s | teacher, s | in all, s | the teacher's training, s |"]
    lines += ["|---|--:|--:|--:|--:|"]
    for row in costs.to_dict("records"):
        cells = [_seconds(row[f"{part}_seconds"]) for part in PARTS]
        cells[2] = f"{'≥ ' if row['is_least'] else ''}{cells[2]}"
        lines.append(f"| {row['encoder']} | {' | '.join(cells)} |")
    return [*lines, ""]


def _row_of(candidate: Candidate) -> dict[str, Any]:
    measures = candidate.card.training.measures
    return {
        "encoder": candidate.name,
        "objective": candidate.objective,
        "architecture": candidate.architecture,
        "training_seconds": measures.get("training_seconds"),
        "teacher_seconds": measures.get("response_task_seconds"),
        "tiles": measures.get("tiles"),
        "responses_computed": measures.get("responses_computed"),
        "teacher_training_seconds": measures.get("teacher_training_seconds"),
    }


def _seconds(value: float) -> str:
    return "—" if pd.isna(value) else f"{value:.0f}"
