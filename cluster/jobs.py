"""Commands as jobs of a Ray cluster, by Ray's own Jobs API: submit, list, read, stop.

The cluster's head answers at the address of its dashboard, ``http://HEAD:8265``.
"""

import asyncio
import os
import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

from ray.job_submission import JobDetails, JobSubmissionClient

from cluster.errors import ClusterError

ENDED = ("SUCCEEDED", "FAILED", "STOPPED")  # of Ray's states; the others are PENDING and RUNNING
STOP_WAIT_S = 60  # between SIGTERM and SIGKILL: time to end what is being written
POLL_S = 0.5
PLACES = ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS")  # variables that Ray obeys rather than us

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A job as the cluster knows it.

    Attributes
    ----------
    job_id
        The name it was given when it was submitted.
    state
        ``"PENDING"``, ``"RUNNING"``, ``"SUCCEEDED"``, ``"FAILED"`` or ``"STOPPED"``.
    message
        Ray's, on how it ended.
    command
        What it runs.
    begun
        When it was submitted, UTC.
    metadata
        What was given along with it.
    """

    job_id: str
    state: str
    message: str
    command: str
    begun: datetime | None
    metadata: Mapping[str, str]

    @property
    def has_ended(self) -> bool:
        """Whether nothing of it runs any more."""
        return self.state in ENDED


def submit_job(
    address: str,
    words: Sequence[str],
    *,
    metadata: Mapping[str, str],
    working_dir: Path | None = None,
) -> str:
    """Have the cluster run a command of these `words`; returns the job's id.

    `working_dir` is a folder that Ray copies to the cluster and in which the command then runs.

    Raises
    ------
    ClusterError
        If nothing answers at `address`, or it does not take the job.
    """
    environment: dict[str, Any] = {"env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": str(STOP_WAIT_S)}}
    if working_dir:
        environment["working_dir"] = str(working_dir)
    client = _client(address)

    def submit() -> str:
        return str(
            client.submit_job(
                entrypoint=shlex.join(words), runtime_env=environment, metadata=dict(metadata)
            )
        )

    return _answered(address, submit)


def list_jobs(address: str) -> list[Job]:
    """Every job submitted to the cluster, the newest first; see `submit_job` for errors."""
    client = _client(address)
    jobs = [_job(said) for said in _answered(address, client.list_jobs) if said.submission_id]
    return sorted(jobs, key=lambda job: job.begun or datetime.now(UTC), reverse=True)


def find_job(address: str, job_id: str) -> Job:
    """One job; an unknown id is a `ClusterError` too."""
    client = _client(address)
    return _job(_answered(address, lambda: client.get_job_info(job_id)))


def read_logs(address: str, job_id: str) -> str:
    """What a job has printed so far."""
    client = _client(address)
    return str(_answered(address, lambda: client.get_job_logs(job_id)))


def follow_logs(address: str, job_id: str, write: Callable[[str], None]) -> None:
    """Give `write` what a job prints, until the job ends."""
    client = _client(address)

    async def follow() -> None:
        async for lines in client.tail_job_logs(job_id):
            write(lines)

    _answered(address, lambda: asyncio.run(follow()))


def stop_job(address: str, job_id: str) -> Job:
    """Ask a job to end by SIGTERM, by SIGKILL after `STOP_WAIT_S`; returns it once it has ended."""
    client = _client(address)
    _answered(address, lambda: client.stop_job(job_id))
    deadline = time.monotonic() + 2 * STOP_WAIT_S
    while not (job := find_job(address, job_id)).has_ended:
        if time.monotonic() > deadline:
            raise ClusterError(
                f"job {job_id} is still {job.state} {2 * STOP_WAIT_S} s after it was asked to end: "
                f"look at {address}"
            )
        time.sleep(POLL_S)
    return job


def _client(address: str) -> JobSubmissionClient:
    for name in PLACES:
        if os.environ.get(name, address) != address:
            raise ClusterError(
                f"{name} is {os.environ[name]!r}, which Ray would use in place of {address}: "
                "unset it, or give the same address"
            )
    if not address.startswith(("http://", "https://")):
        raise ClusterError(
            f"jobs are submitted to a dashboard, http://HEAD:8265, not to {address}: "
            "'ray start --head' prints its address"
        )
    return _answered(address, lambda: JobSubmissionClient(address.rstrip("/")))


def _answered(address: str, ask: Callable[[], Result]) -> Result:
    """What the cluster answers; its refusals, which Ray raises as several types, as one."""
    try:
        return ask()
    except (OSError, RuntimeError, ValueError) as error:
        lines = [line for line in str(error).strip().splitlines() if line]
        raise ClusterError(f"{address}: {lines[-1] if lines else type(error).__name__}") from error


def _job(said: JobDetails) -> Job:
    begun = datetime.fromtimestamp(said.start_time / 1000, UTC) if said.start_time else None
    return Job(
        job_id=said.submission_id or "",
        state=str(said.status.value),
        message=said.message or "",
        command=said.entrypoint,
        begun=begun,
        metadata=said.metadata or {},
    )
