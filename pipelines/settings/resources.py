"""The resources table: what the task of each step takes of a node, and how to change it."""

from collections.abc import Callable
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

from cluster.resources import Needs

Task = TypeVar("Task")
NotNegative = Annotated[float, Field(ge=0)]


class StepResources(BaseModel):
    """What is set aside for one task of a step.

    Attributes
    ----------
    cpus
        That it computes with.
    gpus
        Share of a GPU, where the run computes on one (``device = "cuda"``); 0 on the CPU.
    memory_gb
        GiB of its process, libraries and network included.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    cpus: Annotated[float, Field(gt=0)] = 1.0
    gpus: NotNegative = 0.0
    memory_gb: NotNegative = 1.0


class ResourcesConfig(BaseModel):
    """The table, by step; a key is a step whose tasks can be of their own.

    The defaults are above what tasks with small networks were seen to hold on a CPU, and no more
    than that: see docs/cluster.md. What is not given of a step is that step's default.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    slide: StepResources = StepResources(gpus=0.25, memory_gb=1.5)
    embed: StepResources = StepResources(gpus=0.25, memory_gb=1.5)
    pyramid: StepResources = StepResources(memory_gb=1.5)
    nuclei: StepResources = StepResources(gpus=0.25, memory_gb=2.0)
    segmentation: StepResources = StepResources(gpus=0.25, memory_gb=2.0)

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, table: Any) -> Any:
        def of_step(name: str, given: Any) -> Any:
            if name not in cls.model_fields or not isinstance(given, dict):
                return given
            return cls.model_fields[name].default.model_dump() | given

        if not isinstance(table, dict):
            return table
        return {name: of_step(name, given) for name, given in table.items()}


def task_needs(
    config: ResourcesConfig, step_of: Callable[[Task], str], on_gpu: bool, task: Task
) -> Needs:
    """The needs of a task, where `step_of` tells which step it is of."""
    step: StepResources = getattr(config, step_of(task))
    return Needs(
        cpus=step.cpus,
        gpus=step.gpus if on_gpu else 0.0,
        memory_bytes=int(step.memory_gb * 2**30),
    )
