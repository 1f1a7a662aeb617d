"""What a slide, or a part of one, may take of memory and time where it is worked on."""

import math
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from cluster.limits import Limits
from wsi.identity import stored_bytes
from wsi.ref import SlideRef

Task = TypeVar("Task")
Off = Literal["off"]
Positive = Annotated[float, Field(gt=0)]


class LimitsConfig(BaseModel):
    """Beyond what the process that works on a slide is ended; ``"off"`` for no limit.

    The defaults are for slides from anywhere on machines of any speed: far more than a slide
    takes that is as it should be, and less than for ever. They hold where processes can be
    replaced, on Ray.

    Attributes
    ----------
    memory_gb
        GiB of one process, model included; None for its share, see
        `cluster.limits.share_of_memory`.
    minutes, minutes_per_gb
        For a task (a slide, or a part of one), and more by the size of the slide's file.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    memory_gb: Positive | Off | None = None
    minutes: Positive | Off = 120.0
    minutes_per_gb: float = Field(default=720.0, ge=0)


def task_limits(
    config: LimitsConfig, slide_of: Callable[[Task], SlideRef | None], task: Task
) -> Limits:
    """The limits of a task, where `slide_of` tells which slide it is of.

    What is of none has none: they are for slides from anywhere.
    """
    ref = slide_of(task)
    if ref is None:
        return Limits(memory_bytes=math.inf)
    memory = config.memory_gb
    memory_bytes = math.inf if memory == "off" else memory and memory * 2**30
    if config.minutes == "off":
        return Limits(memory_bytes=memory_bytes)
    minutes = config.minutes + config.minutes_per_gb * _size(ref.path) / 1e9
    return Limits(memory_bytes=memory_bytes, seconds=60 * minutes)


@lru_cache(maxsize=64)  # a slide has thousands of parts, and may be a folder of as many files
def _size(path: Path) -> int:
    return stored_bytes(path) or 0
