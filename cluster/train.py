"""Starting a training on several workers: Ray Train joins them, what they do is the caller's.

The training itself knows nothing of Ray: it finds the other workers through `torch.distributed`.
"""

import logging
import tempfile
from collections.abc import Callable
from textwrap import shorten

import ray.train
from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer

from cluster.errors import ClusterError
from cluster.ray_executor import RayExecutor
from wsi.malloc import keep_freed_memory

LONGEST = 200  # characters of what is quoted of an error


def train_together(task: Callable[[], None], *, workers: int, gpu: bool = False) -> None:
    """Run `task` once on each worker, the workers joined by a torch process group.

    Parameters
    ----------
    task
        Picklable. What it is to leave behind, it writes itself.
    workers
        How many; each has a CPU of its own, and with `gpu` a GPU.

    Raises
    ------
    ClusterError
        If a worker was lost or raised an error; what the task has written until then stays.
    """
    logging.getLogger("ray.train").setLevel(logging.ERROR)
    with RayExecutor(workers=workers), tempfile.TemporaryDirectory() as storage:
        trainer = TorchTrainer(
            _run,
            train_loop_config={"task": task},
            scaling_config=ScalingConfig(num_workers=workers, use_gpu=gpu),
            torch_config=TorchConfig(backend="nccl" if gpu else "gloo"),
            run_config=RunConfig(
                storage_path=storage, failure_config=FailureConfig(max_failures=0)
            ),
        )
        try:
            trainer.fit()
        except ray.train.TrainingFailedError as error:
            raise ClusterError(
                f"the training on {workers} workers ended ({_explain(error)}); --resume goes on "
                "from what it has saved"
            ) from error


def _run(config: dict[str, Callable[[], None]]) -> None:
    keep_freed_memory()
    config["task"]()


def _explain(error: ray.train.TrainingFailedError) -> str:
    """What each worker that failed says, in a line; Ray's own account is pages long."""
    if isinstance(error, ray.train.WorkerGroupError):
        failures = sorted(error.worker_failures.items())
        return "; ".join(f"worker {rank}: {_line(failure)}" for rank, failure in failures)
    cause = getattr(error, "controller_failure", error)
    if isinstance(cause, ray.exceptions.ActorDiedError):
        return f"a worker was lost: {_line(cause)}"
    return _line(cause)


def _line(error: BaseException) -> str:
    """The beginning of an error's last line, where a traceback has what was raised."""
    lines = str(error).strip().splitlines()
    return shorten(lines[-1], LONGEST) if lines else type(error).__name__
