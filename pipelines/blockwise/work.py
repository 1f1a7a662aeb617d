"""Work that is done block by block, so that workers share a slide and a killed run goes on.

A piece of work says what a block is, how one is done and where it is stored; all else is here.
"""

import hashlib
import json
import pickle
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from pipelines.blockwise.sealed import SealedPlan
from pipelines.code_version import code_version
from pipelines.receipts import Receipts
from wsi.atomic import remove
from wsi.ref import SlideRef

PARTIAL = ".partial-"  # begins the name of a folder with blocks

BlockT = TypeVar("BlockT")


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockWork(ABC, Generic[BlockT]):
    """Work on a slide, with all that a block of it needs; travels to where blocks are done.

    Attributes
    ----------
    step
        Name of the step in the receipt, and in the resources table.
    parameters
        What the result depends on besides the slide, its tissue and its resolution.
    folder
        Where the blocks that are done are kept, see `blocks_folder`.
    """

    step: ClassVar[str]
    ref: SlideRef
    parameters: dict[str, Any] = field(hash=False)
    folder: Path

    @abstractmethod
    def path(self, block: BlockT) -> Path:
        """Where a block is stored, in `folder`."""

    @abstractmethod
    def make(self, block: BlockT) -> None:
        """Do a block and store it at its path, whole or not at all; the same each time."""

    def tiles(self, block: BlockT) -> int:
        """How many tiles a block embeds."""
        return 0

    def do(self, block: BlockT) -> bool:
        """Do a block, unless that was done; whether it was not."""
        if self.path(block).exists():
            return False
        self.make(block)
        return True


WorkT = TypeVar("WorkT", bound=BlockWork[Any])


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockPlan(Generic[WorkT, BlockT]):
    """Work, and the blocks it falls into."""

    work: WorkT
    blocks: tuple[BlockT, ...]

    def is_done(self, receipts: Receipts, base: dict[str, Any]) -> bool:
        """Whether an earlier run finished it; `base` is what every step depends on."""
        return receipts.holds(self.work.step, base | self.work.parameters)

    def sealed(self) -> SealedPlan:
        """The plan for the driver, which passes it on."""
        return SealedPlan(
            step=self.work.step,
            ref=self.work.ref,
            folder=self.work.folder.parent,
            work=pickle.dumps(self.work),
            blocks=tuple(map(pickle.dumps, self.blocks)),
        )


def blocks_folder(folder: Path, step: str, *, source: str, depends: dict[str, Any]) -> Path:
    """Where a step's blocks are kept in a slide's `folder` until all are done.

    The name holds a digest of the code, of the slide's bytes (`source`) and of what else a block
    `depends` on, so none is taken for one of other work.
    """
    key = json.dumps({"input": source, "code_version": code_version()} | depends)
    return folder / f"{_mark(step)}{hashlib.sha256(key.encode()).hexdigest()[:16]}"


def forget_blocks(folder: Path, step: str | None = None) -> None:
    """Remove the stored blocks of a step, or of all, whatever they depended on, of a slide."""
    for left_over in folder.glob(f"{PARTIAL if step is None else _mark(step)}*"):
        remove(left_over)


def _mark(step: str) -> str:
    return f"{PARTIAL}{step}-"
