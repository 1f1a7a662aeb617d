"""The end of a slide's conversion: what needs its parts, and the pyramid's final name."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from pipelines.conversion.tasks import Converted, ConvertJob, FinishTask
from wsi.atomic import publish, remove, sweep_replaced
from wsi.errors import UnreadableRegionError
from wsi.identity import stored_bytes
from wsi.pyramid import write
from wsi.source import check_unchanged


def finish(task: FinishTask) -> Converted:
    """Complete the pyramid and put it in place.

    Raises
    ------
    SourceChangedError
        If the slide is not the one that was begun with; nothing gets the final name.
    UnreadableRegionError
        If nothing of the slide decodes; likewise.
    """
    job = task.job
    check_unchanged(job.ref.path, task.source)
    image = job.partial / "image"
    with ThreadPoolExecutor(job.threads) as pool:
        write.finish(image, task.plan, sorted(task.invalid), pool)
    _check_decodes(image)
    converted = describe(image)
    publish(image, job.path)
    clean(job)
    return converted


def _check_decodes(image: Path) -> None:
    """Refuse a pyramid that would be black all over, in each level of the slide."""
    validity: Any = zarr.open_group(image, mode="r")["validity"]
    valid = [np.asarray(level[:]) for _, level in validity.arrays()]
    if not any(level.any() for level in valid):
        raise UnreadableRegionError(
            f"none of the {sum(level.size for level in valid)} tiles decodes: copy or download the "
            "slide again"
        )


def clean(job: ConvertJob) -> None:
    """Remove what this conversion, or one killed at its end, has left beside its pyramid."""
    remove(job.partial)
    sweep_replaced(job.path)


def describe(path: Path) -> Converted:
    """Read a complete pyramid's facts back."""
    group = zarr.open_group(path, mode="r")
    attributes: Any = group.attrs
    ome = attributes.get("ome", attributes)
    validity: Any = group["validity"].attrs["invalid_by_level"]
    return Converted(
        codec=attributes["raypath"]["codec"],
        levels=len(ome["multiscales"][0]["datasets"]),
        invalid_tiles=sum(validity),
        bytes_out=stored_bytes(path) or 0,
        ended=time.time(),
    )
