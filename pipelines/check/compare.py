"""What a check said a run would take, beside what it took."""

from datetime import datetime
from pathlib import Path

from pipelines.memory import NOTHING, Held
from pipelines.records import stream_records
from pipelines.runfolder import INFO_NAME, RECORDS_NAME, read_json
from wsi.identity import stored_bytes

CHECK_NAME = "check.json"


def compare(out: Path, *, size: int | None = None) -> list[tuple[str, str]]:
    """What `check.json` said, beside what the run in the folder took; empty without both.

    A check of another number of slides than the run's was of other slides, and is left out. `size`
    is what the run wrote, in bytes; None for what is in the folder.
    """
    check, run = read_json(out / CHECK_NAME), read_json(out / INFO_NAME)
    if not check or not run.get("finished") or check["slides"] != sum(run["counts"].values()):
        return []
    said = check["estimate"]
    started, finished = (datetime.fromisoformat(run[key]) for key in ("started", "finished"))
    took = (finished - started).total_seconds()
    size = size or stored_bytes(out) or 0
    return [
        ("time", f"{duration(said['seconds'])} said, {duration(took)} taken"),
        ("folder", f"{said['bytes_out'] / 1e6:.1f} MB said, {size / 1e6:.1f} MB written"),
        ("memory", f"{_gib(said['process_bytes'])} a process said, {_held(out)}"),
    ]


def _held(out: Path) -> str:
    """The most memory that a process of the run held, for people."""
    most = NOTHING
    for record in stream_records(out / RECORDS_NAME):
        if record.peak_rss_bytes is not None:
            most |= Held(rss_bytes=record.peak_rss_bytes, is_bound=bool(record.peak_is_bound))
    if not most.rss_bytes:
        return "not measured, since no slide was finished"
    return f"{'at most ' if most.is_bound else ''}{_gib(most.rss_bytes)} held"


def _gib(size: float) -> str:
    return f"{size / 2**30:.2f} GiB"


def duration(seconds: float) -> str:
    """For people."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
