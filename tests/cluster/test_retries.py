"""What is tried again, how often, and after how long."""

import pytest

from cluster.retries import FIRST_WAIT_S, LONGEST_WAIT_S, TRIES, wait_s


def test_waits_double_up_to_the_longest() -> None:
    waits = [wait_s("node_lost", tries) for tries in range(1, TRIES["node_lost"])]
    assert waits == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, LONGEST_WAIT_S]
    assert waits[0] == FIRST_WAIT_S


@pytest.mark.parametrize("kind", TRIES)
def test_every_kind_is_given_up_in_the_end(kind: str) -> None:
    assert wait_s(kind, TRIES[kind] - 1) is not None
    assert wait_s(kind, TRIES[kind]) is None


@pytest.mark.parametrize("kind", ["unexpected", "unsupported", "timed_out", "truncated"])
def test_what_fails_in_the_same_way_again_is_tried_once(kind: str) -> None:
    assert wait_s(kind, 1) is None
