"""Contenders are run in turns, alone, and failures are rows."""

import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from benchmarks.speed import measure
from benchmarks.speed.measure import BenchmarkError, Contender, Done, Work, measure_in_turns

MIB = 2**20


def hold(size: int, scratch: Path) -> Work:
    return lambda: len(b"1" * size)


def hold_in_child(size: int, scratch: Path) -> Work:
    code = f"len(b'1' * {size})"
    return lambda: subprocess.run([sys.executable, "-c", code], check=True)


def write(size: int, scratch: Path) -> Work:
    assert list(scratch.iterdir()) == []
    return lambda: (scratch / "out").write_bytes(bytes(size))


def absent(scratch: Path) -> Work:
    import no_such_library  # type: ignore[import-not-found]

    return no_such_library.work  # type: ignore[no-any-return]


def broken(scratch: Path) -> Work:
    raise OSError("disk on fire\nand more")


def test_runs_in_turns_and_counts_bytes() -> None:
    said: list[str] = []
    contenders = [
        Contender(name="a", prepare=partial(write, 10), role="ours"),
        Contender(name="b", prepare=partial(write, 20), threads=2, note="twice"),
    ]
    a, b = measure_in_turns(contenders, runs=2, say=said.append)
    assert [line.split(":")[0] for line in said] == ["[1/2] a", "[1/2] b", "[2/2] a", "[2/2] b"]
    assert len(a.cpu_seconds) == 2
    assert (len(a.seconds), a.bytes_out, len(b.seconds), b.bytes_out) == (2, 10, 2, 20)
    assert (b.role, b.threads, b.note) == ("peer", 2, "twice")


def test_preparation_is_not_timed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0]
    monkeypatch.setattr(measure, "perf_counter", lambda: clock[0])

    def prepare(scratch: Path) -> Work:
        clock[0] += 100
        return lambda: clock.append(clock.pop() + 7)

    assert measure._timed(prepare, tmp_path).seconds == 7


@pytest.mark.parametrize("holder", [hold, hold_in_child])
def test_memory_is_the_contenders_own(holder: partial[Work]) -> None:
    contenders = [
        Contender(name="large", prepare=partial(holder, 100 * MIB)),
        Contender(name="small", prepare=partial(holder, 1)),
    ]
    large, small = measure_in_turns(contenders, runs=1)
    assert large.peak_bytes - small.peak_bytes > 70 * MIB  # the small one holds Python too


def test_a_peer_that_fails_or_is_absent_is_a_row() -> None:
    contenders = [Contender(name="x", prepare=absent), Contender(name="y", prepare=broken)]
    x, y = measure_in_turns(contenders, runs=2)
    assert x.failure == "no_such_library is not installed: pip install 'raypath[benchmark]'"
    assert y.failure == "failed, OSError: disk on fire"
    assert x.seconds == y.seconds == []


def test_one_of_ours_that_fails_is_an_error() -> None:
    with pytest.raises(BenchmarkError, match="ours failed: disk on fire"):
        measure_in_turns([Contender(name="ours", prepare=broken, role="ours")], runs=1)


def test_a_peer_that_took_too_long_is_not_run_again() -> None:
    contenders = [
        Contender(name="peer", prepare=partial(write, 1)),
        Contender(name="ours", prepare=partial(write, 1), role="ours"),
    ]
    peer, own = measure_in_turns(contenders, runs=3, patience_s=0)
    assert (len(peer.seconds), len(own.seconds)) == (1, 3)


def test_outputs_are_deleted(tmp_path: Path) -> None:
    measure_in_turns([Contender(name="a", prepare=partial(write, 10))], runs=1, folder=tmp_path)
    assert list(tmp_path.iterdir()) == []


def count_elsewhere(scratch: Path) -> Work:
    return lambda: Done(items=5, cpu_seconds=1000.0, peak_bytes=2**50)


def test_what_other_processes_used_is_counted() -> None:
    (result,) = measure_in_turns([Contender(name="a", prepare=count_elsewhere)], runs=1)
    assert (result.items, result.peak_bytes) == (5, 2**50)
    assert 1000 <= result.cpu_seconds[0] < 1001
