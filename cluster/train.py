"""Starting a training on several workers: Ray Train joins them, what they do is the caller's.

The training itself knows nothing of Ray: it finds the other workers through `torch.distributed`.
"""

import os
import tempfile
from collections.abc import Callable

os.environ.setdefault("RAY_TRAIN_V2_ENABLED", "1")

import ray
from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer

from cluster.errors import ClusterError
from cluster.ray_executor import RayExecutor


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
            raise ClusterError(f"the training on {workers} workers ended: {error}") from error


def _run(config: dict[str, Callable[[], None]]) -> None:
    config["task"]()
