"""What a check said a run would take, beside what it took."""

from datetime import datetime
from pathlib import Path

from pipelines.runfolder import INFO_NAME, read_json
from wsi.identity import stored_bytes

CHECK_NAME = "check.json"


def compare(out: Path) -> list[tuple[str, str]]:
    """What `check.json` said, beside what the run in the folder took; empty without both.

    A check of another number of slides than the run's was of other slides, and is left out.
    """
    check, run = read_json(out / CHECK_NAME), read_json(out / INFO_NAME)
    if not check or not run.get("finished") or check["slides"] != sum(run["counts"].values()):
        return []
    said = check["estimate"]
    started, finished = (datetime.fromisoformat(run[key]) for key in ("started", "finished"))
    took = (finished - started).total_seconds()
    size = stored_bytes(out) or 0
    return [
        ("time", f"{duration(said['seconds'])} said, {duration(took)} taken"),
        ("folder", f"{said['bytes_out'] / 1e6:.1f} MB said, {size / 1e6:.1f} MB written"),
        ("memory", f"{said['peak_bytes'] / 2**30:.2g} GiB said; a run does not measure it"),
    ]


def duration(seconds: float) -> str:
    """For people."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
