"""Batches from a thread: the same ones, in order, not too many, and nothing left behind."""

import threading
from collections.abc import Iterator
from time import monotonic, sleep

import pytest

from distill.prefetch import prefetched


def numbers(drawn: list[int], end: int | None = None) -> Iterator[int]:
    number = 0
    while end is None or number < end:
        drawn.append(number)
        yield number
        number += 1


def settled(drawn: list[int], count: int) -> bool:
    """Wait until so many were drawn, and see that no more are."""
    deadline = monotonic() + 10
    while len(drawn) < count and monotonic() < deadline:
        sleep(0.01)
    sleep(0.05)
    return len(drawn) == count


def test_all_come_in_order() -> None:
    with prefetched(numbers([], 50), depth=2) as batches:
        assert list(batches) == list(range(50))


def test_only_so_many_are_made_ahead_and_by_another_thread() -> None:
    drawn: list[int] = []
    makers = set()

    def watched() -> Iterator[int]:
        for number in numbers(drawn):
            makers.add(threading.current_thread().name)
            yield number

    with prefetched(watched(), depth=3) as batches:
        assert settled(drawn, 4)  # three wait, one is in hand
        assert [next(batches), next(batches)] == [0, 1]
        assert settled(drawn, 6)
    assert makers == {"batches"}


def test_the_thread_ends_with_the_context() -> None:
    before = threading.active_count()
    with prefetched(numbers([]), depth=1) as batches:
        next(batches)
        assert threading.active_count() == before + 1
    assert threading.active_count() == before


def test_an_error_is_raised_where_its_batch_was_expected() -> None:
    def broken() -> Iterator[int]:
        yield 1
        raise OSError("the disk is gone")

    with prefetched(broken()) as batches:
        assert next(batches) == 1
        with pytest.raises(OSError, match="the disk is gone"):
            next(batches)
