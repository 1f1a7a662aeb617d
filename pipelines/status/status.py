"""How a run stands, read from its folder alone: while it works, after a crash, and at the end."""

from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pipelines.journal import JOURNAL_NAME, read_journal
from pipelines.records import SlideRecord
from pipelines.remote.local_copy import own_files
from pipelines.runfolder import NotARunError
from pipelines.status.life import Life
from pipelines.status.progress_file import PROGRESS_NAME, Said, read_said


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStatus:
    """How a run stands.

    Attributes
    ----------
    state
        ``"running"``; ``"finished"``; ``"interrupted"`` by a signal; ``"broken"`` by an error;
        ``"stopped"`` where the driver vanished without a word.
    message
        The error that broke it.
    host, pid, silent_s
        The driver, and how long ago it said that it is alive; see `Life.silent_s`.
    total, ok, partial, failed, running, waiting
        Slides: of the cohort; by verdict; given to workers, which hold a few each; and the others.
        After a stop none is running.
    blocks_done, blocks_total
        Of the slides in hand that were cut into blocks.
    done_share
        Share of the cohort's bytes that is done, 0-1, that of slides in hand by their blocks.
    working_on
        Ids of the first of those that are running, or were when the driver stopped.
    reasons
        Failed and partial slides by reason.
    elapsed_s
        Since the driver's start, which may have resumed an earlier run.
    slides_per_s, tiles_per_s
        Since then, without what was merely found done; tiles of slides in hand by their blocks.
    eta_s
        Until the end, as far as the bytes of slides tell; None before any are worked on.
    seconds
        By step, of all finished slides together.
    slowest_step
        The one that took most.
    waited_s, worked_s
        Of the embedding: until tiles were read, and spent on those that were.
    """

    state: str
    message: str
    host: str
    pid: int
    silent_s: float
    total: int
    ok: int
    partial: int
    failed: int
    running: int
    waiting: int
    blocks_done: int
    blocks_total: int
    done_share: float
    working_on: tuple[str, ...]
    reasons: dict[str, int]
    elapsed_s: float
    slides_per_s: float
    tiles_per_s: float
    eta_s: float | None
    seconds: dict[str, float]
    slowest_step: str | None
    waited_s: float
    worked_s: float

    @property
    def done(self) -> int:
        """Slides that have a verdict."""
        return self.ok + self.partial + self.failed

    @property
    def waited_share(self) -> float | None:
        """Share of the embedding's time that the model waited for tiles, 0-1; None without any."""
        total = self.waited_s + self.worked_s
        return self.waited_s / total if total else None

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self) | {"done": self.done, "waited_share": self.waited_share}


@dataclass(slots=True)
class _Tally:
    """What the journal's records add up to, as far as it was read."""

    end: int = 0  # byte
    verdicts: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    seconds: dict[str, float] = field(default_factory=dict)
    worked_on: int = 0  # slides
    tiles: int = 0
    waited_s: float = 0.0
    worked_s: float = 0.0

    def add(self, record: SlideRecord) -> None:
        self.verdicts[record.verdict] += 1
        if record.reason:
            self.reasons[record.reason] += 1
        for step, seconds in record.seconds.items():
            self.seconds[step] = self.seconds.get(step, 0.0) + seconds
        self.waited_s += record.waited_s or 0.0
        self.worked_s += record.worked_s or 0.0
        if not record.is_reused:
            self.worked_on += 1
            self.tiles += record.new_tiles


class RunWatch:
    """Looks at a run's folder again and again, reading only what is new in its journal."""

    def __init__(self, out: Path, *, say: Callable[[str], None] = lambda _: None) -> None:
        """Watch the run in `out`; `say` is called with a line when a look takes long."""
        self.out = out
        self._tally = _Tally()
        self._life = Life(read=self._read, say=say)
        self._driver: tuple[str, str, int, str] | None = None

    def look(self) -> RunStatus:
        """How the run stands now.

        The first look may take `SILENT_S`, see `Life.look`.

        Raises
        ------
        NotARunError
            If no run has begun in the folder.
        DamagedError
            If `progress.json` or the journal is not what a driver writes.
        """
        said = self._life.look()
        journal = own_files(self.out, (PROGRESS_NAME, JOURNAL_NAME)) / JOURNAL_NAME
        is_other = self._driver not in (None, said.driver)
        if is_other or (journal.exists() and journal.stat().st_size < self._tally.end):
            self._tally = _Tally()  # the run was begun again
        self._driver = said.driver
        for record, end in read_journal(journal, start=self._tally.end):
            self._tally.add(record)
            self._tally.end = end
        return _status(said, self._tally, silent_s=self._life.silent_s(said))

    def _read(self) -> Said:
        said = read_said(own_files(self.out, (PROGRESS_NAME,)))
        if said is None:
            raise NotARunError(
                f"no run has begun in {self.out}: it has no {PROGRESS_NAME} "
                "(give the folder that 'raypath run' writes to with -o)"
            )
        return said


def _status(said: Said, tally: _Tally, *, silent_s: float) -> RunStatus:
    state = said.state
    done = tally.verdicts.total()
    running = min(said.n_in_hand, said.total - done) if state == "running" else 0
    elapsed_s = said.elapsed_s
    tiles = max(said.tiles, tally.tiles)  # the journal may be ahead of the driver's last beat
    eta_s = None
    if state == "running" and said.worked_share:
        eta_s = (1 - said.done_share) * elapsed_s / said.worked_share
    slowest = max(tally.seconds, key=lambda step: tally.seconds[step], default=None)
    return RunStatus(
        state=state,
        message=said.message,
        host=said.host,
        pid=said.pid,
        silent_s=silent_s,
        total=said.total,
        ok=tally.verdicts["ok"],
        partial=tally.verdicts["partial"],
        failed=tally.verdicts["failed"],
        running=running,
        waiting=said.total - done - running,
        blocks_done=said.blocks_done,
        blocks_total=said.blocks_total,
        done_share=said.done_share,
        working_on=said.in_hand,
        reasons=dict(tally.reasons),
        elapsed_s=elapsed_s,
        slides_per_s=tally.worked_on / elapsed_s if elapsed_s else 0.0,
        tiles_per_s=tiles / elapsed_s if elapsed_s else 0.0,
        eta_s=eta_s,
        seconds={step: round(s, 3) for step, s in tally.seconds.items()},
        slowest_step=slowest,
        waited_s=tally.waited_s,
        worked_s=tally.worked_s,
    )
