"""The most a process held: of one task, not of those before it, and honest where it cannot tell."""

import mmap
from pathlib import Path

import pytest

from pipelines import memory
from pipelines.memory import CLEAR, Held, measured_peak

MIB = 1 << 20
LARGE = 200 * MIB

linux = pytest.mark.skipif(not CLEAR.exists(), reason="only Linux starts the record anew")


def hold(size: int) -> None:
    """Hold as much for a moment, in pages of its own.

    An array may lie in a gap of the heap that tests before this one left, and then the process
    holds no more than before. The pages are written to, else there would be none.
    """
    with mmap.mmap(-1, size) as pages:
        for page in range(0, size, mmap.PAGESIZE):
            pages[page] = 1


@linux
def test_what_was_held_meanwhile_counts_and_what_was_held_before_does_not() -> None:
    with measured_peak() as first:
        hold(LARGE)
        of_first = first()
    with measured_peak() as second:
        of_second = second()
    assert not of_first.is_bound
    assert not of_second.is_bound
    assert of_first.rss_bytes - of_second.rss_bytes > 0.9 * LARGE


@linux
def test_measuring_within_a_measurement_keeps_the_outer_one_and_says_so() -> None:
    with measured_peak() as outer:
        hold(LARGE)
        with measured_peak() as inner:
            assert inner().is_bound
            assert inner().rss_bytes >= outer().rss_bytes
        assert not outer().is_bound
    with measured_peak() as after:
        assert not after().is_bound


def test_where_the_record_cannot_be_started_anew_it_is_a_bound(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(memory, "CLEAR", tmp_path)  # a folder: nobody may write to it as a file
    hold(LARGE)
    with measured_peak() as peak:
        assert peak().is_bound
        assert peak().rss_bytes > LARGE


def test_the_larger_of_two_keeps_what_is_known_of_it() -> None:
    sure, bound = Held(rss_bytes=5), Held(rss_bytes=7, is_bound=True)
    assert sure | bound == bound | sure == bound
    assert Held() | sure == sure
