"""Verifying one slide's folder: digests, contents, and the record against both."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipelines.receipts import RECEIPT_NAME, read_receipts
from pipelines.records import SlideRecord
from pipelines.remote.local_copy import slide_at_hand
from pipelines.runfolder import RECORDS_NAME, TISSUE_NAME, UNFINISHED
from pipelines.verify.contents import Facts, read_contents
from pipelines.verify.problem import Problem, Verified
from wsi.atomic import digest
from wsi.identity import stored_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyTask:
    """A slide's folder, and what the run's record says of it; None where it has no row."""

    folder: Path
    record: SlideRecord | None


def verify_slide(task: VerifyTask) -> Verified:
    """Read everything of a slide again; of one at a URL after it was fetched."""
    with slide_at_hand(task.folder) as folder:
        return _verify(replace(task, folder=folder))


def _verify(task: VerifyTask) -> Verified:
    problems, facts = [], Facts()
    outputs = dict[str, str]()
    if task.folder.is_dir():
        outputs, found = _outputs(task)
        problems += found
        for name, was in outputs.items():
            problems += _verify_output(task.folder / name, name, was, facts)
    elif task.record is not None and task.record.verdict != "failed":
        problems.append(Problem(file=".", kind="missing", message=f"{task.folder} is not there"))
    problems += _against_record(task.record, facts)
    read = sum(stored_bytes(task.folder / name) or 0 for name in outputs)
    return Verified(name=task.folder.name, problems=tuple(problems), bytes_read=read)


def _outputs(task: VerifyTask) -> tuple[dict[str, str], list[Problem]]:
    """Digests by output, as the receipts say; and what is wrong with the receipts."""
    try:
        receipts = read_receipts(task.folder)
    except FileNotFoundError:
        if task.record is not None and task.record.verdict in ("failed", UNFINISHED):
            return {}, []  # it failed before its first step ended
        return {}, [Problem(file=RECEIPT_NAME, kind="missing", message="nothing can be verified")]
    except ValueError as error:
        return {}, [Problem(file=RECEIPT_NAME, kind="changed", message=str(error))]
    outputs: Mapping[str, str] = {}
    for receipt in receipts.values():
        outputs = {**outputs, **receipt["outputs"]}
    return dict(outputs), []


def _verify_output(path: Path, name: str, was: str, facts: Facts) -> Iterator[Problem]:
    if not path.exists():
        yield Problem(file=name, kind="missing", message="the receipt says that it was written")
        return
    yield from read_contents(path, facts)
    if digest(path) != was:
        message = f"its bytes are not those that were written (digest {was[:12]}…)"
        if name == TISSUE_NAME:
            message = (
                "it was edited after the run, which wants another run; or it is damaged: remove it "
                "then, and the tissue is found anew"
            )
        yield Problem(file=name, kind="changed", message=message)


def _against_record(record: SlideRecord | None, facts: Facts) -> Iterator[Problem]:
    if record is None:
        message = (
            "the slide has no row: its folder is an earlier run's, of other slides, or the row "
            "was lost"
        )
        yield Problem(file=RECORDS_NAME, kind="contradiction", message=message)
        return
    if record.verdict in ("failed", UNFINISHED):
        return
    for field, found in facts.items():
        said = getattr(record, field)
        if said is not None and not _is_same(said, found):
            message = f"the record says {field} {said}, the files say {found}"
            yield Problem(file=RECORDS_NAME, kind="contradiction", message=message)


def _is_same(said: Any, found: Any) -> bool:
    if isinstance(said, float):
        return math.isclose(said, found, rel_tol=1e-9)
    return bool(said == found)
