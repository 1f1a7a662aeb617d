"""Dask arrays computed by Ray tasks."""

from collections.abc import Iterator
from contextlib import contextmanager

import dask
import ray

from cluster.errors import ClusterError
from cluster.executor import Executor
from cluster.serial import SerialExecutor


@contextmanager
def ray_dask(executor: Executor | None = None) -> Iterator[None]:
    """Within the context, computing a dask collection runs its tasks where `executor` runs its.

    Ray's own Dask scheduler makes each task of the optimised graph a Ray task. Reading a block of
    a slide and what is done to it are fused before that, so a worker reads the pixels itself, and
    only what it makes of them travels. A block that is itself the result does travel: reduce, or
    write blocks from within the graph, before computing.

    Parameters
    ----------
    executor
        A `RayExecutor`, or None for the Ray that is running; a `SerialExecutor` computes in this
        process and thread.

    Raises
    ------
    ClusterError
        If no Ray is running.
    """
    if isinstance(executor, SerialExecutor):
        with dask.config.set(scheduler="synchronous"):
            yield
        return
    if not ray.is_initialized():
        raise ClusterError(
            "no Ray is running: compute within a RayExecutor's context, or pass a SerialExecutor"
        )
    # Here, because importing it replaces dask.persist by one that knows Ray.
    from ray.util.dask import ray_dask_get

    with dask.config.set(scheduler=ray_dask_get):
        yield
