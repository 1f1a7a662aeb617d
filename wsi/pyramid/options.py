"""What a person can ask of a pyramid."""

from dataclasses import dataclass
from typing import Literal

from wsi.ngff import Version

Codec = Literal["auto", "jpeg", "zstd", "blosc"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PyramidOptions:
    """How a pyramid is to be stored.

    Attributes
    ----------
    codec
        ``"auto"`` keeps the slide's own JPEG tiles and levels where that is possible, and is
        ``"zstd"`` elsewhere. The others decode always, and make each level half the one before.
    quality
        0-100, of what is encoded as JPEG: every level with codec ``"jpeg"``, and the levels that
        the slide lacks where its own tiles are kept.
    fill_levels
        Where the slide's own levels are kept, add those between two that differ by more than 2.
    ngff
        OME-Zarr ``"0.5"`` (Zarr v3, sharded) or ``"0.4"`` (Zarr v2, one file a chunk).
    associated
        Names of associated images to copy. A label or macro may show a patient's name.
    chunk_px
        Edge of a chunk, the unit a viewer reads.
    block_px
        Edge of what is decoded at once: a power of two times `chunk_px`. A block is one shard of
        each level down to the one where it is a single chunk.
    coarsest_px
        Levels are added until one fits into this.

    Raises
    ------
    ValueError
        If a value is out of range, or codec and version do not go together.
    """

    codec: Codec = "auto"
    quality: int = 90
    fill_levels: bool = False
    ngff: Version = "0.5"
    associated: tuple[str, ...] = ()
    chunk_px: int = 512
    block_px: int = 4096
    coarsest_px: int = 512

    def __post_init__(self) -> None:
        ratio = self.block_px // self.chunk_px
        if ratio < 2 or ratio & (ratio - 1) or self.block_px % self.chunk_px:
            raise ValueError(
                f"block_px must be 2, 4, 8 … times chunk_px {self.chunk_px}, got {self.block_px}"
            )
        if not 1 <= self.quality <= 100:
            raise ValueError(f"quality must be in 1-100, got {self.quality}")
        if self.ngff == "0.4" and self.codec in ("auto", "jpeg"):
            raise ValueError(
                f"OME-Zarr 0.4 (Zarr v2) has no JPEG codec, and codec is {self.codec}: "
                "choose zstd or blosc, or OME-Zarr 0.5"
            )
        if self.fill_levels and self.codec != "auto":
            raise ValueError(
                f"fill_levels is for codec auto; {self.codec} makes every level anyway"
            )
