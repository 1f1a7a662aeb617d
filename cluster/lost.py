"""What Ray says when a task has no result, as a failure whose kind says who is to blame."""

import json
from dataclasses import asdict

from ray import exceptions

from cluster import notes
from cluster.executor import Failure
from cluster.limits import Breach

# What tasks hand to each other goes through Ray's object store, and from there to the disk under
# Ray's own folder; these two are raised where a task stores something, or its result.
OUT_OF_ROOM = (exceptions.ObjectStoreFullError, exceptions.OutOfDiskError)


def tell(key: str, breach: Breach) -> None:
    """Leave the reason for which this process is about to end; for `explain` on the driver."""
    notes.leave(key, json.dumps(asdict(breach)))


def explain(error: exceptions.RayError, key: str) -> Failure:
    """Why a task has no result; `key` is where its process would have left a reason.

    ``"out_of_memory"`` and ``"timed_out"`` if it was ended for that, by us or by Ray's memory
    monitor; ``"worker_lost"`` if its process died of something else; ``"node_lost"`` if the
    machine went, or Ray lost sight of it; ``"object_store_full"`` and ``"spill_disk_full"`` if
    there was no room for what it handed on.
    """
    said = notes.take(key)
    if said is not None:
        breach = Breach(**json.loads(said))
        return Failure(kind=breach.kind, message=breach.message)
    reason = first_line(error)
    if isinstance(error, exceptions.OutOfMemoryError):
        return Failure(
            kind="out_of_memory",
            message=f"its node ran out of memory ({reason}): use fewer workers, or set "
            "'memory_gb' in [limits] of the configuration to find the slide that takes it",
        )
    if isinstance(error, exceptions.ObjectStoreFullError):
        return Failure(
            kind="object_store_full",
            message=f"Ray's object store on its node is full ({reason}): no pixels go there, so "
            "look with 'ray memory' whose objects they are, or start Ray with a larger "
            "--object-store-memory",
        )
    if isinstance(error, exceptions.OutOfDiskError):
        return Failure(
            kind="spill_disk_full",
            message=f"the disk on its node to which Ray's object store overflows is full "
            f"({reason}): make room there (/tmp/ray, if Ray was not started with another "
            "--temp-dir), and run the same command again",
        )
    if isinstance(error, exceptions.WorkerCrashedError):
        return Failure(
            kind="worker_lost",
            message=f"the process that worked on it died ({reason}): a defect of a decoder, or "
            "the system ended it for want of memory",
        )
    return Failure(
        kind="node_lost",
        message=f"the machine that worked on it was lost ({type(error).__name__}: {reason})",
    )


def first_line(error: BaseException) -> str:
    """The first line of Ray's explanation, which can be a page long."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else "no reason given"
