"""Work of a network that looks at a slide in square blocks: teachers and segmenters."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from pipelines.blockwise.frame import Block, BlockFrame
from pipelines.blockwise.work import BlockWork


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkWork(BlockWork[Block]):
    """What is looked at, where, and with which network.

    Attributes
    ----------
    suffix
        Of a stored block.
    frame
        The pixels the network looks at, and their blocks.
    level0_mpp
        µm per level-0 pixel.
    network, sha256
        Its folder or weights, and the digest of the weights.
    bfloat16, device
        What it computes in, and on.
    """

    suffix: ClassVar[str]
    frame: BlockFrame
    level0_mpp: float
    network: Path
    sha256: str
    bfloat16: bool
    device: str

    def path(self, block: Block) -> Path:
        """Where a block is stored."""
        return self.folder / f"{block.row}-{block.column}{self.suffix}"
