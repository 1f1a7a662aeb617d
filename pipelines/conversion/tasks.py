"""One slide's conversion as tasks, and what each of them has to say.

Each runs in whatever process or thread, finds what it needs in the folder ``.partial-<name>``
beside the pyramid to be, and leaves there what it has done, so that a killed conversion can be
continued:

    plan.json           what is being made of which source; written last when work begins
    tissue.json         the tissue mask is whole: what a person should know of it
    parts/<part>.json   a part that is whole, with what of it did not decode
    image/              the pyramid, which gets its final name when it is complete
"""

from dataclasses import dataclass
from pathlib import Path

from wsi.pyramid.options import PyramidOptions
from wsi.pyramid.parts import Invalid
from wsi.pyramid.plan import Part, PyramidPlan
from wsi.ref import SlideRef
from wsi.source import Source

PARTIAL = ".partial-"
GO_ON = "go on with --resume"  # where the disk was full


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
    """A conversion that was laid out: what is to be written, and what is known already.

    `plan` is without the tiles to be copied, which the parts hold. `tissue_mpp`, µm per level-0
    pixel, is set if the tissue is still to be found, and `finished` where nothing is to be done.
    """

    source: Source
    plan: PyramidPlan | None
    tissue_mpp: float | None
    parts: tuple[Part, ...]
    invalid: Invalid
    flags: tuple[str, ...]
    megapixels: float
    started: float
    finished: "Converted | None" = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Masked:
    """The tissue mask is written; `flags` is what a person should know of it."""

    flags: tuple[str, ...]


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
class MaskTask:
    """Find the tissue and write its mask."""

    job: ConvertJob
    source: Source
    plan: PyramidPlan
    level0_mpp: float


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


Task = BeginTask | MaskTask | PartTask | FinishTask


def slide_of(task: Task) -> SlideRef:
    """The slide a task is of."""
    return task.job.ref


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What a task has to say, and the most memory its process used meanwhile, in bytes."""

    said: Begun | Masked | Invalid | Converted
    peak_rss_bytes: int
