"""Whether the driver of a run lives: what it said last, and what this machine knows of it.

On the driver's own machine its process is looked up. Of one on another machine only the beat
tells, which changes for as long as the driver lives. How long it has not changed is counted here,
with a clock of our own: those of two machines may differ by anything, and any may be set. Only
whether a look is worth a wait is judged by them.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from pipelines.processes import is_alive, process_space
from pipelines.status.progress_file import Said

SILENT_S = 30.0  # without a new beat for so long, a driver on another machine is taken for dead
LOOK_S = 1.0  # between two looks while we wait for one


@dataclass(slots=True, kw_only=True)
class Life:
    """Follows a driver, look by look.

    Attributes
    ----------
    read
        Reads what the driver said last.
    say
        Is called with a line when it has to be waited whether another machine's process lives.
    """

    read: Callable[[], Said]
    say: Callable[[str], None]
    _beat: float | None = None  # the last that was seen
    _seen: float = 0.0  # when it was first, by `time.monotonic`
    _has_changed: bool = False  # before our eyes

    def look(self) -> Said:
        """What the driver said last; as `state` ``"stopped"`` where it was running and is no more.

        The first look waits, at most `SILENT_S`, where a driver on another machine seems silent.
        """
        said = self.read()
        if said.state != "running":
            return said
        if said.space == process_space():
            # A process that is gone may have said how it ended after we read.
            return said if is_alive(said.pid, said.start) else _without_driver(self.read())
        is_first = self._beat is None
        self._note(said)
        if is_first and abs(time.time() - said.beat) > SILENT_S:
            said = self._waited_for(said)
        return said if self._unchanged_s() <= SILENT_S else _without_driver(said)

    def silent_s(self, said: Said) -> float:
        """For how long the driver has said nothing, seconds.

        Of one on another machine, whose beat never changed while we looked, it is a comparison
        of two clocks.
        """
        by_clock = max(0.0, time.time() - said.beat)
        if said.space == process_space() or self._beat is None:
            return by_clock
        return self._unchanged_s() if self._has_changed else max(by_clock, self._unchanged_s())

    def _waited_for(self, said: Said) -> Said:
        """What the driver says within `SILENT_S`, or said before."""
        self.say(
            f"process {said.pid} on {said.host} seems silent: waiting at most {SILENT_S:g} s for "
            "a sign of life"
        )
        while self._unchanged_s() <= SILENT_S and not self._has_changed:
            time.sleep(LOOK_S)
            said = self.read()
            self._note(said)
        return said

    def _note(self, said: Said) -> None:
        if said.beat != self._beat:
            self._has_changed = self._beat is not None
            self._beat, self._seen = said.beat, time.monotonic()

    def _unchanged_s(self) -> float:
        return time.monotonic() - self._seen


def _without_driver(said: Said) -> Said:
    return replace(said, state="stopped") if said.state == "running" else said
