"""The two sides of a loop are told apart, by a clock that the test moves."""

from collections.abc import Iterator

import pytest

from pipelines.steps import timing
from pipelines.steps.timing import Timing


def test_waiting_and_work_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(timing.time, "perf_counter", lambda: now)

    def batches() -> Iterator[int]:
        nonlocal now
        for batch in range(3):
            now += 2.0  # to read it
            yield batch

    spent = Timing()
    for batch in spent.over(batches()):
        now += 10.0 * batch
    assert spent == Timing(waited_s=6.0, worked_s=30.0)
    assert list(spent.over([])) == []
    assert spent.waited_s == 6.0
