"""Arrays in memory and in files without a name."""

import os
import resource
import tempfile
from pathlib import Path

import numpy as np
import pytest

from wsi import scratch
from wsi.errors import DiskFullError


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(scratch, "IN_MEMORY", 1000)
    return tmp_path


def on_disk(folder: Path) -> int:
    """Bytes of the files without a name that this process maps from a folder."""
    maps = Path("/proc/self/maps").read_text().splitlines()
    ends = [line.split()[0].split("-") for line in maps if str(folder) in line]
    return sum(int(end, 16) - int(start, 16) for start, end in ends)


@pytest.mark.parametrize("dtype", ["uint8", "int8", "float32"])
def test_a_large_array_lies_in_the_temporary_folder_under_no_name(folder: Path, dtype: str) -> None:
    small, large = scratch.room_for((10, 10), dtype), scratch.room_for((300, 10), dtype)
    assert on_disk(folder) >= large.nbytes
    assert not list(folder.iterdir())
    for array in (small, large):
        values = np.arange(array.size).astype(dtype).reshape(array.shape)
        array[...] = values
        np.testing.assert_array_equal(array, values)
        np.testing.assert_array_equal(array[[5, 2]][:, 3:5], values[[5, 2]][:, 3:5])
    del large, array
    assert on_disk(folder) == 0


def test_a_disk_without_room_is_told_of_before_anything_is_written(folder: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, before[1]))
    try:
        with pytest.raises(DiskFullError, match=r"GiB does not fit into .*: point TMPDIR"):
            scratch.room_for((6000,), "uint8")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert on_disk(folder) == 0
    assert os.listdir(folder) == []
