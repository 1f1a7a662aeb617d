"""A process that takes too much ends, and says why before."""

import math
import subprocess
import sys
from pathlib import Path

import pytest

from cluster import limits
from cluster.limits import EXIT_CODE, LEAST_SHARE_BYTES, Limits, held_bytes, share_of_memory

GIB = 1 << 30
PROGRAM = """
import sys, time
from cluster.limits import Limits, enforced
def tell(breach):
    print(breach.kind, breach.message, flush=True)
with enforced(Limits({limits}), workers=1, tell=tell):
    {work}
print("done", flush=True)
"""


def run(limits: str, work: str) -> subprocess.CompletedProcess[str]:
    """A process of its own, with these limits, at this work."""
    program = PROGRAM.format(limits=limits, work=work)
    root = Path(__file__).parents[2]
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=root, check=False
    )


def test_a_process_that_hangs_says_so_and_ends() -> None:
    done = run("seconds=0.3", "time.sleep(60)")
    assert done.returncode == EXIT_CODE
    assert done.stdout.startswith("timed_out not done after 0.005 minutes, the limit: raise")


def test_a_process_that_fills_the_memory_says_so_and_ends() -> None:
    work = "held = [b'x' * (1 << 28)]; time.sleep(60)"
    done = run("memory_bytes=200 << 20", work)
    assert done.returncode == EXIT_CODE
    assert "GiB, and the limit is 0.20 GiB: raise 'memory_gb'" in done.stdout
    assert done.stdout.startswith("out_of_memory its process held 0.")


def test_what_keeps_within_its_limits_is_let_alone() -> None:
    done = run("memory_bytes=1 << 30, seconds=60", "held = b'x' * (1 << 26)")
    assert (done.returncode, done.stdout) == (0, "done\n")


def test_code_that_keeps_the_interpreter_lock_is_ended_too() -> None:
    """The program shortens the grace; a regular expression of exponential time never lets go."""
    work = "import re; re.match('(a+)+$', 'a' * 60 + 'b')"
    program = "import cluster.limits as l; l.GRACE_S = 0.5\n" + PROGRAM.format(
        limits="seconds=0.5", work=work
    )
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=root, check=False
    )
    assert done.returncode != 0
    assert "done\n" not in done.stdout


def test_memory_that_is_held_is_counted_and_memory_given_back_is_not() -> None:
    before = held_bytes()
    block = bytearray(b"x") * (1 << 28)
    assert held_bytes() - before > 0.9 * len(block)
    del block
    assert held_bytes() - before < 1 << 27


@pytest.mark.parametrize(
    ("total", "workers", "share"),
    [
        (64 * GIB, 4, 16 * GIB),
        (64 * GIB, 64, LEAST_SHARE_BYTES),  # a GiB each would refuse good slides
        (64 * GIB, 1, int(0.8 * 64 * GIB)),
        (2 * GIB, 2, int(0.8 * 2 * GIB)),
    ],
)
def test_the_share_of_a_worker(
    monkeypatch: pytest.MonkeyPatch, total: int, workers: int, share: int
) -> None:
    monkeypatch.setattr(limits, "available_memory", lambda: total)
    assert share_of_memory(workers) == share


@pytest.mark.parametrize("wrong", [{"seconds": 0.0}, {"memory_bytes": -1.0}])
def test_limits_that_nothing_could_keep_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="limits must be positive"):
        Limits(**wrong)  # type: ignore[arg-type]
    assert Limits().seconds == math.inf
