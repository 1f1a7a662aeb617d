"""What the driver of a run sends to workers, and what comes back before a slide's record does.

Nothing here, nor what it holds, needs a network's library: the driver hands work out and does
none, and a library that it does not load takes no memory there.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pipelines.blockwise.sealed import SealedPlan
from pipelines.cohort.manifest import Entry
from pipelines.memory import NOTHING, Held
from pipelines.settings.config import RunConfig
from wsi.ref import SlideRef
from wsi.source import Source


@dataclass(frozen=True, slots=True, kw_only=True)
class SlideJob:
    """A slide to work on, the folder for its results, and the settings.

    `hands_out` says whether others may do its blocks first; `held` is what their processes held,
    and `seconds` the time they took, by step. `source` is the slide as it was when they were
    planned; None where none were.
    """

    entry: Entry
    folder: Path
    config: RunConfig
    hands_out: bool = False
    source: Source | None = None
    held: Held = NOTHING
    seconds: Mapping[str, float] = field(default_factory=dict, hash=False)

    @property
    def ref(self) -> SlideRef:
        """The slide."""
        return self.entry.ref


@dataclass(frozen=True, slots=True, kw_only=True)
class HandedOut:
    """The work of a slide whose blocks are to be done before the slide is.

    `source` is the slide as it was before they were planned, and `held` what the process held that
    looked at it.
    """

    plans: tuple[SealedPlan, ...]
    source: Source | None = None
    held: Held = NOTHING


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockDone:
    """What comes back of a block that is done.

    Attributes
    ----------
    held, seconds
        What its process held, and how long it took.
    is_new
        Whether it was not done before, by a run that was ended.
    tiles
        Embedded now.
    """

    held: Held = NOTHING
    seconds: float = 0.0
    is_new: bool = True
    tiles: int = 0
