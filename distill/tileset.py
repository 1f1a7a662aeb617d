"""Tiles to pretrain on, with what they are of, split so that nothing is seen twice."""

import hashlib
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from wsi.plan import TileSpec
from wsi.slide import Pixels

HELD_OUT = 0.1  # share of the images or slides kept back to measure on


@dataclass(frozen=True, slots=True, kw_only=True)
class TileSet:
    """Tiles of one size and resolution.

    Attributes
    ----------
    seen
        (N, S, S, 3) uint8 tiles with `context_px` around them, for a teacher; perhaps in a file,
        see `wsi.scratch`.
    sources
        (N,) int64: the image or slide each is from. Tiles of one source may overlap.
    spec
        The tiles without their context.
    context_px
        Margin on each side.
    instances
        (N, S, S) nuclei labels with the same margin, 0 for background; None where unlabelled.
    """

    seen: Pixels
    sources: NDArray[np.int64]
    spec: TileSpec
    context_px: int = 0
    instances: NDArray[np.int32] | None = None

    def __post_init__(self) -> None:
        edge = self.spec.size_px + 2 * self.context_px
        if self.seen.shape[1:] != (edge, edge, 3) or len(self.sources) != len(self.seen):
            raise ValueError(
                f"tiles {self.seen.shape} of {len(self.sources)} sources do not fit {self.spec} "
                f"with {self.context_px} px of context"
            )

    def __len__(self) -> int:
        return len(self.seen)

    @property
    def pixels(self) -> Pixels:
        """The tiles alone, a view."""
        end = self.seen.shape[1] - self.context_px
        return self.seen[:, self.context_px : end, self.context_px : end]

    def take(self, index: NDArray[np.integer]) -> Self:
        """Some of the tiles."""
        labels = None if self.instances is None else self.instances[index]
        return replace(self, seen=self.seen[index], sources=self.sources[index], instances=labels)

    def digest(self) -> str:
        """SHA-256 of the tiles, of their labels, and of which are of one source."""
        total = hashlib.sha256(self.sources.tobytes())
        for number, tile in enumerate(self.seen):
            total.update(tile.tobytes())
            if self.instances is not None:
                total.update(self.instances[number].tobytes())
        return total.hexdigest()

    def split(self, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Numbers of the tiles to train on and of those held out, whole sources each.

        With one source alone, tiles are held out instead; they may overlap with the others then.
        """
        generator = np.random.default_rng(seed)
        known = np.unique(self.sources)
        of_tile = self.sources if len(known) > 1 else np.arange(len(self))
        groups = generator.permutation(np.unique(of_tile))
        back = groups[: max(1, round(HELD_OUT * len(groups)))]
        is_back = np.isin(of_tile, back)
        return np.flatnonzero(~is_back), np.flatnonzero(is_back)


def share_of(index: NDArray[np.int64], share: float, seed: int) -> NDArray[np.int64]:
    """A share, 0-1, of some tiles at random, at least one; a smaller one is part of a larger."""
    count = max(1, round(share * len(index)))
    return np.sort(np.random.default_rng(seed).permutation(index)[:count])


def evenly(index: NDArray[np.int64], most: int, seed: int) -> NDArray[np.int64]:
    """At most so many of some tiles: one at random from each of `most` runs of equal length.

    Of tiles in the order of their sources, each source has its part.
    """
    if len(index) <= most:
        return index
    ends = np.linspace(0, len(index), most + 1).astype(np.int64)
    return index[np.random.default_rng(seed).integers(ends[:-1], ends[1:])]


def join(sets: list[TileSet]) -> TileSet:
    """Several sets as one; unlabelled if one of them is.

    Raises
    ------
    ValueError
        If they are not of one spec and context.
    """
    first = sets[0]
    if any((s.spec, s.context_px) != (first.spec, first.context_px) for s in sets):
        raise ValueError(f"tiles of several kinds: {[(s.spec, s.context_px) for s in sets]}")
    offsets = np.cumsum([0] + [int(s.sources.max()) + 1 for s in sets[:-1]])
    labels = [s.instances for s in sets if s.instances is not None]
    return replace(
        first,
        seen=np.concatenate([s.seen for s in sets]),
        sources=np.concatenate([s.sources + o for s, o in zip(sets, offsets, strict=True)]),
        instances=np.concatenate(labels) if len(labels) == len(sets) else None,
    )
