"""One slide's conversion as tasks: look and lay out, write parts, put in place.

Each runs in whatever process, finds what it needs in the folder ``.partial-<name>`` beside the
pyramid to be, and leaves there what it has done, so that a killed conversion can be continued:

    plan.json           what is being made of which source; written last when work begins
    parts/<part>.json   a part that is whole, with what of it did not decode
    image/              the pyramid, which gets its final name when it is complete
"""

import errno
import json
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import zarr

from pipelines.errors import UsageError
from pipelines.memory import measured_peak
from pipelines.receipts import code_version
from wsi.atomic import TMP_MARK, publish, remove, replacing
from wsi.errors import DiskFullError, OutputPermissionError
from wsi.identity import stored_bytes
from wsi.jpeg.find import find_tiles
from wsi.open import open_slide
from wsi.overview import read_overview
from wsi.pyramid.options import PyramidOptions
from wsi.pyramid.parts import Invalid, write_block, write_copy
from wsi.pyramid.plan import CopyPart, Part, PyramidPlan, plan_pyramid
from wsi.pyramid.write import begin, finish
from wsi.ref import SlideRef
from wsi.resolution import MppSource, resolve_mpp
from wsi.slide import Slide
from wsi.source import Source, check_unchanged, look_at_source
from wsi.tissue import find_tissue, overview_downsample

PARTIAL = ".partial-"
NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
NOT_ALLOWED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvertJob:
    """A slide to convert to the pyramid at `path`.

    Attributes
    ----------
    resume
        Go on where an interrupted conversion stopped; leave what is complete as it is.
    overwrite
        Replace what is at `path`, once the new pyramid is complete.
    threads
        For decoding and encoding, in each task.
    """

    ref: SlideRef
    path: Path
    options: PyramidOptions
    resume: bool = False
    overwrite: bool = False
    threads: int = 1

    @property
    def partial(self) -> Path:
        """Where the unfinished pyramid and its state are."""
        return self.path.with_name(f"{PARTIAL}{self.path.name}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """A conversion that was laid out: the parts to be written, and what is known already.

    `plan` is without the tiles to be copied, which the parts hold. `finished` is set where there
    is nothing left to do.
    """

    source: Source
    plan: PyramidPlan | None
    parts: tuple[Part, ...]
    invalid: Invalid
    flags: tuple[str, ...]
    megapixels: float
    started: float
    finished: "Converted | None" = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Converted:
    """What is known of a pyramid that is complete."""

    codec: str
    levels: int
    invalid_tiles: int
    bytes_out: int
    ended: float


@dataclass(frozen=True, slots=True, kw_only=True)
class BeginTask:
    """Look at the slide and lay out its pyramid."""

    job: ConvertJob


@dataclass(frozen=True, slots=True, kw_only=True)
class PartTask:
    """Write one part."""

    job: ConvertJob
    source: Source
    part: Part


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishTask:
    """Write what needs the parts, and put the pyramid in place."""

    job: ConvertJob
    source: Source
    plan: PyramidPlan
    invalid: tuple[tuple[str, int, int], ...]


Task = BeginTask | PartTask | FinishTask


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What a task has to say, and the most memory its process used meanwhile, in bytes."""

    said: Begun | Invalid | Converted
    peak_rss_bytes: int


def do(task: Task) -> Done:
    """Do a task of a conversion, in whatever process.

    Raises
    ------
    UsageError
        If the result exists, or would lie inside the slide.
    SlideError, OutputError
        If the slide cannot be read, or the pyramid not be written.
    """
    with measured_peak() as peak, explained_output(task.job):
        said: Begun | Invalid | Converted
        if isinstance(task, BeginTask):
            said = _begin(task.job)
        elif isinstance(task, PartTask):
            said = _write_part(task)
        else:
            said = _finish(task)
    return Done(said=said, peak_rss_bytes=peak())


@contextmanager
def explained_output(job: ConvertJob) -> Iterator[None]:
    """Turn the system's refusals to write into errors that say what to do."""
    try:
        yield
    except OSError as error:
        if error.errno in NO_ROOM:
            free = shutil.disk_usage(_existing(job.path.parent)).free
            raise DiskFullError(
                f"no room to write {job.path} ({error.strerror}; {free / 1e6:.0f} MB are free "
                f"there): make room or lift the limit, then go on with --resume"
            ) from error
        if error.errno in NOT_ALLOWED and str(error.filename).startswith(str(job.path.parent)):
            raise OutputPermissionError(
                f"writing to {job.path.parent} is not allowed ({error.strerror}): "
                "choose another folder with --out, or change its permissions"
            ) from error
        raise


def _existing(folder: Path) -> Path:
    return next(path for path in (folder, *folder.parents) if path.is_dir())


def _begin(job: ConvertJob) -> Begun:
    started = time.time()
    with open_slide(job.ref) as slide:
        source = look_at_source(job.ref.path)
        made = json.loads(json.dumps(_made_from(job, source)))
        width, height = slide.dimensions
        megapixels = width * height / 1e6
        if job.path.exists() and not job.overwrite:
            return Begun(
                source=source,
                plan=None,
                parts=(),
                invalid=[],
                flags=(),
                megapixels=megapixels,
                started=started,
                finished=_already_there(job, made),
            )
        tiles = find_tiles(job.ref.path, slide) if job.options.codec == "auto" else None
        plan = plan_pyramid(slide, job.options, tiles)
        _check_room(job, plan)
        state = job.partial / "plan.json"
        saved = json.loads(state.read_text()) if job.resume and state.is_file() else None
        done: dict[str, Invalid] = {}
        if saved is not None and saved["made_from"] == made:
            flags = tuple(saved["flags"])
            done = {p.stem: _read_part(p) for p in (job.partial / "parts").glob("*.json")}
        else:
            flags = _lay_out(job, slide, plan, made, state)
    return Begun(
        source=source,
        plan=replace(plan, copied={}),
        parts=tuple(part for part in plan.parts() if part.part_id not in done),
        invalid=[place for invalid in done.values() for place in invalid],
        flags=flags,
        megapixels=megapixels,
        started=started,
    )


def _check_room(job: ConvertJob, plan: PyramidPlan) -> None:
    """Refuse to begin a copy that cannot end; what is encoded has a size nobody knows before."""
    needed = sum(int(level.lengths.sum()) for level in plan.copied.values())
    free = shutil.disk_usage(_existing(job.path.parent)).free
    if needed > free:
        raise DiskFullError(
            f"{job.path.name} needs about {needed / 1e6:.0f} MB and {free / 1e6:.0f} MB are free "
            f"in {job.path.parent}: make room, or choose another folder with --out"
        )


def _lay_out(
    job: ConvertJob, slide: Slide, plan: PyramidPlan, made: dict[str, Any], state: Path
) -> tuple[str, ...]:
    """Begin anew: the pyramid without its pixels, and what it is made from."""
    for left_over in job.partial.glob("*"):  # the folder itself is locked by whoever asked
        remove(left_over)
    ref = job.ref
    resolution = resolve_mpp(slide.properties, given=ref.mpp, given_by=MppSource(ref.mpp_source))
    downsample = overview_downsample(slide.dimensions, level0_mpp=resolution.mpp)
    overview = read_overview(slide, downsample=downsample)
    tissue = find_tissue(overview, level0_mpp=resolution.mpp)
    image = job.partial / "image"
    begin(image, slide, plan, name=ref.slide_id, resolution=resolution, tissue=tissue)
    group = zarr.open_group(image, mode="r+")
    known: Any = group.attrs["raypath"]
    group.attrs["raypath"] = known | {"made_from": made}
    (job.partial / "parts").mkdir()
    missing = [name for name in job.options.associated if name not in slide.associated_images]
    flags = (*tissue.flags, *resolution.warnings, *(f"no_{name}_image" for name in missing))
    with replacing(state) as tmp:
        tmp.write_text(json.dumps({"made_from": made, "flags": flags}))
    return flags


def _made_from(job: ConvertJob, source: Source) -> dict[str, Any]:
    """What the pyramid's bytes depend on."""
    return {
        "source": source.identity,
        "slide_id": job.ref.slide_id,
        "mpp": job.ref.mpp,
        "options": asdict(job.options),
        "code_version": code_version(),
    }


def _already_there(job: ConvertJob, made: dict[str, Any]) -> Converted:
    known: Any = zarr.open_group(job.path, mode="r").attrs.get("raypath", {})
    if known.get("made_from") != made:
        raise UsageError(
            f"{job.path} exists and was made from another slide, with other settings or by "
            "another version: use --overwrite to replace it, or another folder"
        )
    remove(job.partial)  # what a process killed right after putting it in place left
    return _describe(job.path)


def _describe(path: Path) -> Converted:
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


def _read_part(path: Path) -> Invalid:
    return [(name, row, column) for name, row, column in json.loads(path.read_text())]


class _Opened:
    """The slide whose parts this process writes: opened once, closed for the next one."""

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


_opened = _Opened()


def _write_part(task: PartTask) -> Invalid:
    job, part = task.job, task.part
    image = job.partial / "image"
    if isinstance(part, CopyPart):
        invalid = write_copy(image, part)
    else:
        with ThreadPoolExecutor(job.threads) as pool:
            invalid = write_block(image, part, _opened.get(job.ref, task.source), pool)
    with replacing(job.partial / "parts" / f"{part.part_id}.json") as tmp:
        tmp.write_text(json.dumps(invalid))
    return invalid


def _finish(task: FinishTask) -> Converted:
    job = task.job
    _opened.close()
    check_unchanged(job.ref.path, task.source)
    image = job.partial / "image"
    with ThreadPoolExecutor(job.threads) as pool:
        finish(image, task.plan, sorted(task.invalid), pool)
    for left_over in image.rglob(f"{TMP_MARK}*"):
        remove(left_over)
    converted = _describe(image)
    publish(image, job.path)
    remove(job.partial)
    return converted
