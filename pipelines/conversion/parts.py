"""What is written of a pyramid once it is laid out: the tissue mask, and the parts."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor

import zarr

from pipelines.conversion.tasks import Masked, MaskTask, PartTask
from pipelines.tissue_mask import tissue_of
from wsi.atomic import remove, replacing
from wsi.open import open_slide
from wsi.pyramid.metadata import write_tissue
from wsi.pyramid.parts import Invalid, write_block, write_copy
from wsi.pyramid.plan import CopyPart
from wsi.ref import SlideRef
from wsi.remote import is_remote
from wsi.slide import Slide
from wsi.source import Source


class _Opened(threading.local):
    """The slide that this thread works on: opened once, closed for the next one."""

    def __init__(self) -> None:
        self._key: tuple[SlideRef, Source] | None = None
        self._slide: Slide | None = None

    def get(self, ref: SlideRef, source: Source) -> Slide:
        if self._slide is None or self._key != (ref, source):
            self.close()
            self._key, self._slide = (ref, source), open_slide(ref)
        return self._slide

    def close(self) -> None:
        if self._slide is not None:
            self._slide.close()
        self._slide = None


opened = _Opened()


def write_mask(task: MaskTask) -> Masked:
    """Find the tissue, or take the mask the manifest names, and write it as a label."""
    job = task.job
    tissue = tissue_of(opened.get(job.ref, task.source), job.ref, level0_mpp=task.level0_mpp)
    image = job.partial / "image"
    remove(image / "labels")  # what was begun before the process was killed
    write_tissue(zarr.open_group(image, mode="r+"), tissue, task.plan, level0_mpp=task.level0_mpp)
    with replacing(job.partial / "tissue.json") as tmp:
        tmp.write_text(json.dumps(tissue.flags))
    return Masked(flags=tissue.flags)


def write_part(task: PartTask) -> Invalid:
    """Write a part, and note that it is whole."""
    job, part = task.job, task.part
    image = job.partial / "image"
    if isinstance(part, CopyPart):
        if is_remote(job.ref.path):
            opened.get(job.ref, task.source)  # its copy may not be on this machine
        invalid = write_copy(image, part)
    else:
        with ThreadPoolExecutor(job.threads) as pool:
            invalid = write_block(image, part, opened.get(job.ref, task.source), pool)
    with replacing(job.partial / "parts" / f"{part.part_id}.json") as tmp:
        tmp.write_text(json.dumps(invalid))
    return invalid
