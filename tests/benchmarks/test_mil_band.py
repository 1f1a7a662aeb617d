"""The simulation behind decision 10: both rules in a row, and what they let pass."""

import numpy as np
import pytest

from benchmarks.mil.band import as_many, in_use, judged, main, summary


def test_both_rules_stand_side_by_side(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--draws", "20", "--sizes", "100", "--error", "0.1"])
    rows = [line.split(" | ") for line in capsys.readouterr().out.splitlines()[2:]]
    assert [row[2] for row in rows] == ["in use", "as many as it can"] * 2


def test_a_rule_that_takes_all_it_can_goes_on_after_a_wrong_verdict() -> None:
    margins, right = np.arange(100.0, 0, -1), np.arange(100) != 30
    assert in_use(margins, right, 0.05) == np.inf  # one of the surest 45
    assert as_many(margins, right, 0.05) == 1.0


def test_a_band_is_judged_by_what_it_decides() -> None:
    margins, right = np.array([1.0, 2.0, 3.0, 4.0]), np.array([False, False, True, True])
    assert [judged(width, margins, right) for width in (0, 2, 3.5, np.inf)] == [
        (4, 2), (3, 1), (1, 0), (0, 0),
    ]  # fmt: skip
    assert summary([(4, 2), (3, 1), (1, 0), (0, 0)], 0.4) == ["75%", "25%", "0.375"]
    assert summary([(0, 0)], 0.4) == ["0%", "0%", "—"]
