"""Who holds a folder, as its lock's file says it."""

import json
import os
import socket
import uuid
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from pipelines.processes import process_space, start_of

MAX_BYTES = 4096  # of a lock's file: one write, which no reader sees half of


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """A process that holds a folder.

    Attributes
    ----------
    token
        Unlike that of any other holder.
    space
        What process numbers are unique in, see `pipelines.processes.process_space`.
    start
        When the process began, in the system's own unit: tells it from a later one of its number.
    since
        For people.
    """

    token: str
    host: str
    space: str
    pid: int
    start: str
    since: str

    @classmethod
    def me(cls) -> "Holder":
        """The process that asks, from now on."""
        return cls(
            token=uuid.uuid4().hex,
            host=socket.gethostname(),
            space=process_space(),
            pid=os.getpid(),
            start=start_of(os.getpid()) or "",
            since=datetime.now(UTC).isoformat(timespec="seconds"),
        )

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


def written(holder: Holder, beat: int) -> bytes:
    """A lock's file, of one size: a shorter text would leave the end of a longer one."""
    text = json.dumps(asdict(holder) | {"beat": beat})
    return text.encode().ljust(MAX_BYTES - 1) + b"\n"


def said_in(text: bytes | None) -> tuple[Holder, int] | None:
    """The holder and its beat; None where there is no text, or none that says it."""
    try:
        said = json.loads(text or b"")
        beat = int(said.pop("beat"))
        return Holder(**said), beat
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
