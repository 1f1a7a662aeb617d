"""Going on with a training only if it is the same, and never in the place of a finished one."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipelines.errors import UsageError
from wsi.atomic import replacing

SHOWN = 5  # differences in a message


def refuse_finished(result: Path) -> None:
    """Refuse to train in a folder whose training is over; `result` is what it writes at the end.

    Raises
    ------
    UsageError
        If it is there.
    """
    if result.exists():
        raise UsageError(
            f"{result.parent} holds a finished training ({result.name}): choose another folder "
            "with --out"
        )


def remember(path: Path, job: Mapping[str, Any], *, resume: bool) -> None:
    """Keep what decides a work in `path`, JSON; where it is resumed, it has to be what is there.

    Raises
    ------
    UsageError
        If it is to go on with another one than the file has; it says what differs.
    """
    wanted = json.loads(json.dumps(job))
    if resume and path.is_file():
        different = _different(json.loads(path.read_text()), wanted)
        if different:
            more = f"; and {len(different) - SHOWN} more" if len(different) > SHOWN else ""
            raise UsageError(
                f"--resume: {path.parent} holds another training "
                f"({'; '.join(different[:SHOWN])}{more}): give the same flags and data, or leave "
                "--resume out to start anew"
            )
    with replacing(path) as tmp:
        tmp.write_text(json.dumps(wanted, indent=1))


def _different(stored: Any, wanted: Any, name: str = "") -> list[str]:
    if isinstance(stored, dict) and isinstance(wanted, dict):
        return [
            line
            for key in sorted(stored.keys() | wanted.keys())
            for line in _different(stored.get(key), wanted.get(key), f"{name}.{key}".strip("."))
        ]
    return [] if stored == wanted else [f"{name} {stored} instead of {wanted}"]
