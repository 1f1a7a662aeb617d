"""Blocks that are handed on by somebody who does not do them, and loads nothing that does.

A block's work is a class beside the network that does it. Whoever unpickles it imports that
network's library, which is hundreds of megabytes. So between the worker that cut a slide into
blocks and those that do them, work and blocks stay bytes.
"""

import pickle
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wsi.ref import SlideRef

if TYPE_CHECKING:
    from pipelines.blockwise.work import BlockWork


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockTask:
    """A block that is to be done.

    Attributes
    ----------
    step, ref
        Of its work.
    folder
        For the slide's results.
    """

    step: str
    ref: SlideRef
    folder: Path
    work: bytes
    block: bytes

    def opened(self) -> tuple["BlockWork[Any]", Any]:
        """Its work, and the block."""
        return open_work(self.work), pickle.loads(self.block)


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedPlan:
    """A `BlockPlan` as bytes; see `BlockTask` for the others."""

    step: str
    ref: SlideRef
    folder: Path
    work: bytes
    blocks: tuple[bytes, ...]

    def tasks(self) -> Iterator[BlockTask]:
        """Its blocks, one by one."""
        for block in self.blocks:
            yield BlockTask(
                step=self.step, ref=self.ref, folder=self.folder, work=self.work, block=block
            )


@lru_cache(maxsize=1)
def open_work(work: bytes) -> "BlockWork[Any]":
    """The work: of a slide's many blocks the same, and unpickled once a process."""
    opened: BlockWork[Any] = pickle.loads(work)
    return opened
