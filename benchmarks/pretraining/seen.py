"""Which tasks an encoder saw images of while it was pretrained: its scores there are no test."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa

from benchmarks.pretraining.candidates import Candidate
from benchmarks.pretraining.parts import read_noted, write_noted
from benchmarks.pretraining.protocol import Say
from distill.seen import SEEN_NAME, Seen, image_digest, read_seen
from wsi.slide import Pixels

TABLE_NAME = "seen.parquet"
COLUMN = "seen_in_pretraining"
METHOD = ["task", "architecture", "objective"]
NOT_KNOWN = "not known"
SCHEMA = pa.schema(
    [
        ("encoder", pa.string()),
        ("task", pa.string()),
        ("architecture", pa.string()),
        ("objective", pa.string()),
        ("count", pa.int64()),  # of the task's images that were seen
        (COLUMN, pa.string()),  # the same for people
    ]
)


def note_seen(
    out: Path,
    candidates: Sequence[Candidate],
    task: str,
    images: Iterable[Pixels],
    say: Say,
) -> None:
    """Note which of a task's images each encoder saw, and say so where it saw some.

    Parameters
    ----------
    images
        All of the task's; read only if there is an encoder to compare them with.
    """
    seen_by = {candidate.name: _seen(candidate) for candidate in candidates}
    digests: list[str] = []
    if any(seen and seen.images for seen in seen_by.values()):
        digests = [image_digest(pixels) for pixels in images]
    rows = {(row["encoder"], row["task"]): row for row in read_noted(out / TABLE_NAME)}
    for candidate in candidates:
        seen = seen_by[candidate.name]
        count = sum(digest in seen.images for digest in digests) if seen else 0
        if count:
            say(f"{candidate.name} saw {count} of {len(digests)} images of {task} in pretraining")
        rows[candidate.name, task] = {
            "encoder": candidate.name,
            "task": task,
            "architecture": candidate.architecture,
            "objective": candidate.objective,
            "count": count,
            COLUMN: f"{count} of {len(digests)}" if count else _where_none(seen),
        }
    table = pa.Table.from_pylist([rows[key] for key in sorted(rows)], SCHEMA)
    write_noted(out / TABLE_NAME, table)


def with_seen(scores: pd.DataFrame, out: Path) -> pd.DataFrame:
    """Scores with what was noted of each method, `COLUMN`; of several seeds, what is worst.

    Which is the most images, or else, as it happens by the alphabet, what is least known.
    """
    noted = pd.DataFrame(read_noted(out / TABLE_NAME), columns=SCHEMA.names).sort_values(
        ["count", COLUMN]
    )
    most = noted.drop_duplicates(METHOD, keep="last")[[*METHOD, COLUMN]]
    keys = scores[METHOD].astype(str).merge(most, on=METHOD, how="left")
    return scores.assign(**{COLUMN: keys[COLUMN].fillna(NOT_KNOWN).to_numpy()})


def _seen(candidate: Candidate) -> Seen | None:
    if candidate.objective == "random" or candidate.card.encoder.weights is None:
        return Seen()
    return read_seen(candidate.folder / SEEN_NAME)


def _where_none(seen: Seen | None) -> str:
    if seen is None:
        return NOT_KNOWN
    return "none known" if seen.unlisted else "none"
