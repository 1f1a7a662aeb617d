"""A training on labelled images, begun or gone on with: what decides it is kept and compared."""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from distill.segmentation.images import ClassImage
from distill.segmentation.rounds import ROUND_FOLDER
from distill.segmentation.settings import SegmenterSettings
from distill.teachers.labelled import Labelled
from distill.teachers.train import TeacherSettings
from distill.teachers.watch import BEST_NAME, CHECKPOINT_NAME
from pipelines.training.resuming import remember
from wsi.atomic import remove

JOB_NAME = "training.json"
FREE = ("device", "workers", "half", "name")  # may be others when a training is resumed

Images = Sequence[Labelled] | Sequence[ClassImage]


def begin_training(
    folder: Path,
    settings: TeacherSettings | SegmenterSettings,
    data: Mapping[str, Images],
    *,
    resume: bool,
    **more: Any,
) -> None:
    """Keep what decides a training in `JOB_NAME`; one that is resumed has to be the same.

    With other data, seed or share, cases that were learned from would be held out. A training
    that starts anew forgets the last one's checkpoints, with which it would go on, and its best
    weights, which it would take for its own.

    Parameters
    ----------
    data
        Images by source, before they are resampled.
    more
        What else decides it, as JSON can hold it.

    Raises
    ------
    UsageError
        If it is to go on with another training than the folder has; it says what differs.
    """
    if not resume:
        for of_round in (folder, *folder.glob(ROUND_FOLDER.format("*"))):
            remove(of_round / CHECKPOINT_NAME)
            remove(of_round / BEST_NAME)
    given = asdict(settings)
    schedule = {name: value for name, value in given["schedule"].items() if math.isfinite(value)}
    job = {
        "settings": {n: v for n, v in given.items() if n not in FREE} | {"schedule": schedule},
        "data": {source: describe_images(images) for source, images in data.items()},
        **more,
    }
    remember(folder / JOB_NAME, job, resume=resume)


def describe_images(images: Images) -> dict[str, Any]:
    """How many there are, and a digest of their names, cases, resolutions, pixels and labels."""
    total = hashlib.sha256()
    for image in images:
        labels = image.instances if isinstance(image, Labelled) else image.classes
        about = [image.name, image.case, image.mpp, image.pixels.shape]
        total.update(json.dumps(about).encode())
        total.update(image.pixels.tobytes())
        total.update(labels.tobytes())
    return {"images": len(images), "sha256": total.hexdigest()[:12]}
