"""Whether a run's results can be written, and what it would run out of."""

import math
from pathlib import Path
from tempfile import TemporaryFile

from pipelines.check.estimate import Estimate
from pipelines.output import existing_folder, free_bytes
from pipelines.remote.store import check_store
from wsi.errors import OutputError
from wsi.fetched import FOLDER_VARIABLE, scratch_folder
from wsi.remote import is_remote


def problems_of_output(out: Path) -> list[str]:
    """Why nothing could be written to `out`, a folder or a URL; tried, and nothing stays."""
    if is_remote(out):
        try:
            check_store(out)
        except OutputError as error:
            return [str(error)]
        return []
    folder = existing_folder(out.absolute())
    try:
        with TemporaryFile(dir=folder):
            return []
    except OSError as error:
        return [f"{folder} cannot be written ({error.strerror}): choose another folder with --out"]


def problems_of(
    expected: Estimate, out: Path, memory_bytes: int | None, *, on_cluster: bool
) -> list[str]:
    """What the run would run out of: disk, which for a URL is this machine's scratch; memory.

    `memory_bytes` is what there is of it; None where nobody knows.
    """
    problems = (
        _problems_of_scratch(expected) if is_remote(out) else _problems_of_disk(expected, out)
    )
    if memory_bytes and expected.peak_bytes > memory_bytes:
        way_out = "use fewer --workers"
        if on_cluster:
            enough = math.ceil(10 * expected.process_bytes / 2**30) / 10
            way_out = f"set memory_gb = {enough:g} in [resources.slide] of the configuration, and "
            way_out += "fewer slides are worked on at a time"
        problems.append(
            f"the run needs about {expected.peak_bytes / 2**30:.2g} GiB of memory and "
            f"{memory_bytes / 2**30:.2g} GiB are there: {way_out}"
        )
    return problems


def unknown_of(expected: Estimate, out: Path, memory_bytes: int | None) -> list[str]:
    """What nobody can tell before the run, as sentences."""
    unknown = []
    if is_remote(out):
        unknown.append(
            f"how much room {out} has, because a storage does not say: the results need about "
            f"{expected.bytes_out / 1e9:.3g} GB there"
        )
    if memory_bytes is None:
        unknown.append(
            "whether the memory will do, because the cluster has no nodes yet: a process needs "
            f"about {expected.process_bytes / 2**30:.2g} GiB"
        )
    return unknown


def _problems_of_disk(expected: Estimate, out: Path) -> list[str]:
    free = free_bytes(out)
    if expected.bytes_out <= free:
        return []
    return [
        f"the results need about {expected.bytes_out / 1e9:.3g} GB and {free / 1e9:.3g} GB are "
        f"free in {existing_folder(out)}: make room, or choose another folder with --out"
    ]


def _problems_of_scratch(expected: Estimate) -> list[str]:
    scratch = scratch_folder()
    free = free_bytes(scratch)
    if expected.at_work_bytes <= free:
        return []
    return [
        f"the results of the slides at work need up to {expected.at_work_bytes / 1e9:.3g} GB and "
        f"{free / 1e9:.3g} GB are free in {scratch}: make room, set {FOLDER_VARIABLE} to a larger "
        "disk, or use fewer --workers"
    ]
