"""Whether a driver lives, by its process here and by its beat elsewhere, whatever clocks say."""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest

from pipelines.processes import process_space, start_of
from pipelines.status import life
from pipelines.status.life import LOOK_S, SILENT_S, Life
from pipelines.status.progress_file import Said

NOW = 1_000_000.0
BEATS_S = 2.0
ELSEWHERE = Said(
    state="running",
    message="",
    host="elsewhere",
    pid=1,
    beat=NOW - 1,
    elapsed_s=10.0,
    total=8,
    n_in_hand=2,
    in_hand=("d", "e"),
    done_share=0.6,
    worked_share=0.5,
)
HERE = replace(ELSEWHERE, space=process_space(), pid=os.getpid(), start=start_of(os.getpid()) or "")


@dataclass(slots=True)
class Clock:
    """Stands in for `time`: whoever sleeps moves it, and `ahead_s` sets it as a person would."""

    passed_s: float = 0.0
    ahead_s: float = 0.0

    def monotonic(self) -> float:
        return 5.0 + self.passed_s

    def time(self) -> float:
        return NOW + self.passed_s + self.ahead_s

    def sleep(self, seconds: float) -> None:
        self.passed_s += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(life, "time", clock)
    return clock


@dataclass(slots=True)
class Watch:
    """Follows `said`, as it is at each moment, and keeps what is said of waits."""

    said: Callable[[], Said]
    lines: list[str] = field(default_factory=list)

    def life(self) -> Life:
        return Life(read=lambda: self.said(), say=self.lines.append)


def beating(clock: Clock, first: float) -> Callable[[], Said]:
    """A driver elsewhere that lives, and said `first` when our clock began."""
    return lambda: replace(ELSEWHERE, beat=first + clock.passed_s // BEATS_S * BEATS_S)


@pytest.mark.parametrize("beat", [NOW - 1, NOW - 9, NOW - 4000, NOW + 4000])
@pytest.mark.parametrize(
    ("start", "state"), [("ITS", "running"), ("GONE", "stopped"), ("ANOTHER", "stopped")]
)
def test_on_one_machine_the_process_tells_whatever_the_clock_says(
    clock: Clock, beat: float, start: str, state: str
) -> None:
    said = replace(HERE, beat=beat)
    if start == "GONE":
        gone = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
        said = replace(said, pid=gone.pid, start=start_of(gone.pid) or "")
        gone.communicate(b"\n")
    if start == "ANOTHER":  # its number was given to a later process
        said = replace(said, start="1")
    watch = Watch(lambda: said)
    assert watch.life().look().state == state
    assert (clock.passed_s, watch.lines) == (0.0, [])


@pytest.mark.parametrize("state", ["finished", "broken"])
def test_a_driver_that_ends_while_we_look_is_not_taken_for_dead(clock: Clock, state: str) -> None:
    coming = iter([replace(HERE, start="1"), replace(HERE, start="1", state=state)])
    assert Watch(lambda: next(coming)).life().look().state == state


@pytest.mark.parametrize("said", [ELSEWHERE, replace(ELSEWHERE, state="finished", beat=NOW - 1e6)])
def test_a_healthy_and_a_finished_run_are_told_at_once(clock: Clock, said: Said) -> None:
    watch = Watch(lambda: said)
    assert watch.life().look() == said
    assert (clock.passed_s, watch.lines) == (0.0, [])


@pytest.mark.parametrize("behind_s", [45, 86400, -45, -500])
def test_another_machines_clock_may_differ_by_anything(clock: Clock, behind_s: float) -> None:
    watch = Watch(beating(clock, NOW - behind_s))
    life = watch.life()
    said = life.look()
    assert said.state == "running"
    assert clock.passed_s <= BEATS_S + LOOK_S
    assert life.silent_s(said) <= BEATS_S
    (line,) = watch.lines
    assert line.startswith("process 1 on elsewhere seems silent: waiting at most 30 s")
    waited_s = clock.passed_s
    clock.ahead_s = 9999  # somebody sets ours
    clock.sleep(BEATS_S)
    assert life.look().state == "running"
    assert (clock.passed_s, len(watch.lines)) == (waited_s + BEATS_S, 1)


@pytest.mark.parametrize("behind_s", [45, 86400, -45, -500])
def test_a_driver_elsewhere_that_stays_silent_is_dead_whatever_its_clock_said(
    clock: Clock, behind_s: float
) -> None:
    life = Watch(lambda: replace(ELSEWHERE, beat=NOW - behind_s)).life()
    said = life.look()
    assert said.state == "stopped"
    assert SILENT_S < clock.passed_s <= SILENT_S + 2 * LOOK_S
    assert life.silent_s(said) == max(behind_s + clock.passed_s, clock.passed_s)


def test_it_may_end_while_we_wait_for_a_sign_of_life(clock: Clock) -> None:
    old = replace(ELSEWHERE, beat=NOW - 100)
    ended = replace(old, beat=NOW - 90, state="finished")
    assert Watch(lambda: ended if clock.passed_s > 4 else old).life().look().state == "finished"


def test_a_watch_counts_with_its_own_clock_how_long_the_beat_is_the_same(clock: Clock) -> None:
    said = ELSEWHERE
    life = Watch(lambda: said).life()
    states = []
    for _ in range(4):
        states.append(life.look().state)
        clock.sleep(12)
        clock.ahead_s -= 100
    assert states == ["running"] * 3 + ["stopped"]
    said = replace(said, beat=said.beat + 1)  # it was only suspended
    assert life.look().state == "running"
    clock.sleep(SILENT_S + 1)
    assert life.look().state == "stopped"
    assert life.silent_s(said) == SILENT_S + 1
