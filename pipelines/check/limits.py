"""What the tasks of a check may take, and what is set aside for them: what a run's slide has."""

from cluster.resources import Needs
from pipelines.check.look import LookTask
from pipelines.check.measure import MeasureTask
from pipelines.settings.config import RunConfig
from pipelines.settings.resources import task_needs
from wsi.ref import SlideRef

Task = LookTask | MeasureTask | RunConfig


def slide_of(task: Task) -> SlideRef | None:
    """The slide a task is of; none where networks are loaded, or the made-up slide is tried."""
    if isinstance(task, RunConfig) or task.entry is None:
        return None
    return task.entry.ref


def needs_of(config: RunConfig, task: Task) -> Needs:
    """What is set aside for a task; looking at a slide is done without the run's GPU."""
    on_gpu = config.device == "cuda" and not isinstance(task, LookTask)
    return task_needs(config.resources, lambda _: "slide", on_gpu, task)
