"""Dask arrays on real Ray: the same result, and pixels stay where they are read."""

from collections.abc import Iterator
from typing import Any

import dask
import numpy as np
import pytest
from ray.util.dask import RayDaskCallback

import wsi.lazy
from cluster.dask import ray_dask
from cluster.errors import ClusterError
from cluster.ray_executor import RayExecutor
from cluster.serial import SerialExecutor
from wsi.errors import UnreadableRegionError
from wsi.lazy import as_dask

LARGEST_BYTES = 1000  # of what a task of a reduction may hand on; a block has 3 x 512 x 512


@pytest.fixture(scope="module")
def executor() -> Iterator[RayExecutor]:
    with RayExecutor(workers=2) as executor:
        yield executor


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(wsi.lazy, "BLOCK_PX", 600)
    yield
    wsi.lazy._idle.close()


class OnlySmallResults(RayDaskCallback):
    """Fails a task, where it runs, when what it hands on is large; counts the tasks."""

    def __init__(self, largest: int) -> None:
        self.largest = largest
        self.tasks = 0

    def _ray_presubmit(self, task: Any, key: Any, deps: Any) -> None:
        self.tasks += 1

    def _ray_posttask(self, key: Any, result: Any, pre_state: Any) -> None:
        size = dask.sizeof.sizeof(result)
        if size > self.largest:
            raise RuntimeError(f"task {key} hands on {size} bytes")


def test_the_result_is_that_of_threads_and_only_reduced_blocks_travel(
    executor: RayExecutor, synthetic: Any
) -> None:
    mean = as_dask(synthetic.path).mean(axis=(0, 1))
    expected = mean.compute(scheduler="threads")
    with ray_dask(executor), OnlySmallResults(LARGEST_BYTES) as seen:
        np.testing.assert_allclose(mean.compute(), expected, rtol=1e-12)
    assert 9 <= seen.tasks < 18  # reading apart from reducing would be two for each of 9 blocks


def test_the_guard_of_the_test_above_sees_pixels(executor: RayExecutor, synthetic: Any) -> None:
    with (
        ray_dask(executor),
        OnlySmallResults(LARGEST_BYTES),
        pytest.raises(RuntimeError, match="hands on"),
    ):
        as_dask(synthetic.path).compute()


def test_workers_read_in_other_processes(executor: RayExecutor, synthetic: Any) -> None:
    lazy = as_dask(synthetic.path)
    wsi.lazy._idle.close()
    with ray_dask():
        np.testing.assert_array_equal(
            lazy[500:520, 500:540].compute(), lazy[500:520, 500:540].compute(scheduler="threads")
        )
        wsi.lazy._idle.close()
        lazy.max().compute()
    assert not wsi.lazy._idle._slides


def test_errors_arrive_as_they_are(executor: RayExecutor, synthetic: Any, damage_tile: Any) -> None:
    mean = as_dask(damage_tile(synthetic.path, 8)).mean()
    with ray_dask(executor), pytest.raises(UnreadableRegionError, match=r"synthetic\.svs: level 0"):
        mean.compute()


def test_a_serial_executor_computes_in_this_thread(synthetic: Any) -> None:
    before = dask.config.get("scheduler", None)
    with ray_dask(SerialExecutor()):
        assert dask.config.get("scheduler") == "synchronous"
        assert as_dask(synthetic.path).min().compute() >= 0
        assert len(wsi.lazy._idle._slides) == 1
    assert dask.config.get("scheduler", None) == before


def test_without_ray_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    with pytest.raises(ClusterError, match="no Ray is running"), ray_dask():
        raise AssertionError("not entered")
