"""What is told of a slide that was converted, or was not."""

from dataclasses import asdict, dataclass
from typing import Any

from cluster.executor import Failure
from pipelines.conversion.tasks import ConvertJob

CAN_BE_CONTINUED = frozenset(
    {
        "disk_full",
        "io_error",
        "node_lost",
        "object_store_full",
        "out_of_memory",
        "spill_disk_full",
        "timed_out",
        "unreachable",
        "worker_lost",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvertRecord:
    """A slide's verdict and numbers; None or empty where it failed.

    Attributes
    ----------
    verdict
        ``"ok"``, ``"partial"`` (some of it did not decode) or ``"failed"``.
    seconds
        From the first look to the pyramid in place.
    megapixels
        Of level 0.
    bytes_in, bytes_out
        Size of the slide's file, and of the pyramid with everything in it.
    invalid_tiles
        Chunks, of any level, that did not decode.
    peak_rss_bytes
        The most memory any process held during a task of this slide.
    flags
        What a person should know of tissue and resolution.
    """

    slide_id: str
    path: str
    verdict: str
    reason: str = ""
    message: str = ""
    seconds: float | None = None
    megapixels: float | None = None
    bytes_in: int | None = None
    bytes_out: int | None = None
    codec: str | None = None
    levels: int | None = None
    invalid_tiles: int | None = None
    peak_rss_bytes: int | None = None
    reused: bool = False
    flags: tuple[str, ...] = ()

    @property
    def work(self) -> float:
        """Megapixels of level 0."""
        return self.megapixels or 0.0

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    def describe(self) -> str:
        """One line about the slide."""
        if self.verdict == "failed":
            return f"{self.slide_id}: failed ({self.reason}): {self.message}"
        if self.reused:
            return f"{self.slide_id}: {self.verdict}, complete already: {self.path}"
        line = (
            f"{self.slide_id}: {self.verdict}, {self.seconds} s, {self.megapixels} MP, "
            f"{self.codec}, {(self.bytes_out or 0) / 1e6:.1f} MB -> {self.path}"
        )
        if self.reason:
            line += f" ({self.reason}: {self.message})"
        return line + (f" [{', '.join(self.flags)}]" if self.flags else "")


def failed_record(job: ConvertJob, failure: Failure) -> ConvertRecord:
    """The record of a slide that did not get through, with the way out where there is one."""
    message = failure.message
    if failure.kind in CAN_BE_CONTINUED and job.partial.exists():
        message += f"; what is done is in {job.partial}, --resume goes on from there"
    return ConvertRecord(
        slide_id=job.ref.slide_id,
        path=str(job.path),
        verdict="failed",
        reason=failure.kind,
        message=message,
    )
