"""Memory that was freed is there for the next batch."""

import os
import subprocess
import sys

import pytest

BATCHES = """
import resource, sys
import numpy as np
from wsi.malloc import keep_freed_memory

if sys.argv[1] == "kept":
    keep_freed_memory()

def touch():
    batch = np.ones((60, 1 << 20), np.uint8)
    return batch.sum()

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

touch()
before = faults()
for _ in range(10):
    touch()
print(faults() - before)
"""


def faults(how: str) -> int:
    done = subprocess.run(
        [sys.executable, "-c", BATCHES, how],
        check=True,
        capture_output=True,
        text=True,
        env=os.environ | {"NUMPY_MADVISE_HUGEPAGE": "0"},  # huge ones would hide the difference
    )
    return int(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="tells glibc's allocator what to do")
def test_the_pages_of_a_batch_are_those_of_the_one_before() -> None:
    assert 5 * faults("kept") < faults("given back")
