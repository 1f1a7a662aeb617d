"""Which executor does the work: this process, a local Ray, or a cluster."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from cluster.executor import Executor
from cluster.limits import Limits
from cluster.resources import Needs, available_cpus
from cluster.serial import SerialExecutor
from cluster.threads import ThreadExecutor
from pipelines.cohort.manifest import Entry
from pipelines.errors import UsageError
from wsi.errors import RayPathError
from wsi.identity import stored_sizes
from wsi.jpeg.find import find_tiles
from wsi.open import open_slide
from wsi.pyramid.options import PyramidOptions
from wsi.remote import is_remote

KNOWN = ("ray", "serial", "threads")
# Ray takes seconds to start. One process copies this much, or decodes this much, in less time
# than a person minds.
COPIED_ALONE_BYTES = 2 << 30
DECODED_ALONE_BYTES = 50 << 20
NETWORK_ALONE_BYTES = 10 << 20  # of slides that a network looks at: a minute's work


def make_executor(
    executor: str,
    *,
    address: str | None,
    workers: int | None,
    allow: Callable[[Any], Limits] | None = None,
    needs: Callable[[Any], Needs] | None = None,
) -> AbstractContextManager[Executor]:
    """``"serial"``, ``"threads"`` or ``"ray"``; ends what it started when its context ends.

    `allow` tells what a task may take, and `needs` what is set aside for it, see `RayExecutor`;
    the other two have no limits.

    Raises
    ------
    UsageError
        If it is none of them, or cannot work where, or as many at a time as, was asked for.
    """
    if executor not in KNOWN:
        raise UsageError(f"--executor {executor}: known are {', '.join(KNOWN)}")
    if address is not None and executor != "ray":
        raise UsageError(
            f"--address {address} is a Ray's, and --executor {executor} works in this process: "
            "give --executor ray with it"
        )
    if executor == "serial" and workers not in (None, 1):
        raise UsageError(
            f"--workers {workers}: --executor serial works on one task at a time, "
            "--executor ray on several"
        )
    if executor == "serial":
        return nullcontext(SerialExecutor())
    if executor == "threads":
        return nullcontext(ThreadExecutor(workers or available_cpus()))
    from cluster.ray_executor import RayExecutor

    return RayExecutor(address=address, workers=workers, allow=allow, needs=needs)


def network_executor(entries: Sequence[Entry]) -> str:
    """The executor for one network where nobody named one: Ray where it is worth its start.

    That is so for more than `NETWORK_ALONE_BYTES` of slides; with less, the network has all CPUs
    of this process for itself. How large a slide behind a URL is shows when a worker fetches it.
    """
    if _is_any_remote(entries):
        return "ray"
    size = sum(size or 0 for size in stored_sizes(entry.ref.path for entry in entries))
    return "ray" if size > NETWORK_ALONE_BYTES else "serial"


def conversion_executor(entries: Sequence[Entry], options: PyramidOptions) -> str:
    """The executor for converting slides where nobody named one: Ray where it is worth its start.

    That is so for more than `COPIED_ALONE_BYTES` of slides, and for more than
    `DECODED_ALONE_BYTES` of those whose pixels have to be decoded. With less, what is only copied
    is copied by threads, and a task that decodes has all CPUs for itself. Slides behind URLs are
    not looked at: each would be fetched for that.
    """
    if _is_any_remote(entries):
        return "ray"
    stored = stored_sizes(entry.ref.path for entry in entries)
    sizes = {entry.ref: size or 0 for entry, size in zip(entries, stored, strict=True)}
    if sum(sizes.values()) > COPIED_ALONE_BYTES:
        return "ray"
    decoded = 0
    for ref, size in sizes.items():
        try:
            with open_slide(ref) as slide:
                copied = options.codec == "auto" and find_tiles(ref.path, slide) is not None
        except RayPathError:
            continue  # it fails as quickly anywhere, with a verdict of its own
        decoded += 0 if copied else size
    if decoded > DECODED_ALONE_BYTES:
        return "ray"
    return "serial" if decoded else "threads"


def _is_any_remote(entries: Sequence[Entry]) -> bool:
    return any(is_remote(entry.ref.path) for entry in entries)
