"""What Ray says when a task has no result, as a failure whose kind says who is to blame."""

import json
from dataclasses import asdict

from ray import exceptions

from cluster import notes
from cluster.executor import Failure
from cluster.limits import Breach


def tell(key: str, breach: Breach) -> None:
    """Leave the reason for which this process is about to end; for `explain` on the driver."""
    notes.leave(key, json.dumps(asdict(breach)))


def explain(error: exceptions.RayError, key: str) -> Failure:
    """Why a task has no result; `key` is where its process would have left a reason.

    ``"out_of_memory"`` and ``"timed_out"`` if it was ended for that, by us or by Ray's memory
    monitor; ``"worker_lost"`` if its process died of something else; ``"node_lost"`` if the
    machine went, or Ray lost sight of it.
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
