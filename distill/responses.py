"""The teacher's responses, computed once and kept: nuclei, distances and appearance in Zarr.

A tile's response is known by its key, the SHA-256 of what the teacher saw, of the teacher's
weights and of the version of everything done in between. Shards are written one by one, keys
last; so a shard whose keys are there is complete, and one that a killed process left is done
again. Shards do not share files: several processes can write at the same time.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import ZstdCodec

from distill.appearance import (
    APPEARANCE,
    appearance_of_response,
    dequantise_appearance,
    quantise_appearance,
)
from distill.errors import ResponseError
from distill.nuclei_net import OUTPUT_STRIDE
from distill.origin import KEY_BYTES, Origin
from distill.quantise import dequantise, quantise
from distill.targets import reduce_maps
from wsi.atomic import replacing
from wsi.scratch import room_for
from wsi.slide import Pixels

SHARD_TILES = 64  # what is lost at most when killed: about a minute of a teacher on a CPU
TEACHER_BATCH = 4  # a U-Net at full resolution needs much memory a tile

Teacher = Callable[[Pixels], NDArray[np.floating]]
"""(B, S, S, 3) uint8 to (B, 3, S, S) or (B, 3, S/2, S/2): nuclei probability, distances."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """What was done for one shard, or, added up, for several."""

    tiles: int = 0
    computed: int = 0
    seconds: float = 0.0

    def __add__(self, other: "Shard") -> "Shard":
        return Shard(
            tiles=self.tiles + other.tiles,
            computed=self.computed + other.computed,
            seconds=self.seconds + other.seconds,
        )


def create_cache(folder: Path, origin: Origin, *, count: int) -> None:
    """Make room for the responses to `count` tiles; what is there already stays.

    A folder appears with all its arrays, so that a kill in between leaves none that lacks some.

    Raises
    ------
    ResponseError
        If `folder` holds responses of another origin.
    """
    edge = origin.tile_px // OUTPUT_STRIDE
    shapes = {
        "nuclei": ((edge, edge), "uint8"),
        "distances": ((2, edge, edge), "int8"),
        "appearance": ((len(APPEARANCE), edge, edge), "int8"),
        "keys": ((KEY_BYTES,), "uint8"),
    }
    if folder.exists():
        group = _open(folder, origin, mode="r+")
        for name in shapes:
            array = _array(group, name)
            if array.shape[0] != count:
                array.resize((count, *array.shape[1:]))
        return
    with replacing(folder) as tmp:
        group = zarr.create_group(tmp, attributes=origin.as_attributes())
        for name, (shape, dtype) in shapes.items():
            group.create_array(
                name,
                shape=(count, *shape),
                dtype=dtype,
                chunks=(SHARD_TILES if name == "keys" else 1, *shape),
                shards=(SHARD_TILES, *shape),
                compressors=ZstdCodec(level=3),
                fill_value=0,
            )


def shards_of(count: int) -> list[slice]:
    """The tiles of each shard, for `write_shard`."""
    return [slice(i, min(i + SHARD_TILES, count)) for i in range(0, count, SHARD_TILES)]


def write_shard(
    folder: Path,
    origin: Origin,
    teacher: Teacher,
    pixels: Pixels,
    *,
    start: int,
    report: Callable[[Shard], None] | None = None,
) -> Shard:
    """Write the responses to the tiles of one shard, unless they are there.

    Parameters
    ----------
    pixels
        (N, S, S, 3) uint8 tiles with their context: all those of the shard.
    start
        Number of the first of them among all tiles, a multiple of `SHARD_TILES`.
    report
        Called after each batch with what of the shard is done.
    """
    started = time.perf_counter()
    group = _open(folder, origin, mode="r+")
    part = slice(start, start + len(pixels))
    wanted = origin.keys(pixels)
    if np.array_equal(_array(group, "keys")[part], wanted):
        return Shard(tiles=len(pixels), seconds=time.perf_counter() - started)
    maps: list[NDArray[np.float32]] = []
    for first in range(0, len(pixels), TEACHER_BATCH):
        maps.append(_respond(teacher, pixels[first : first + TEACHER_BATCH], origin))
        if report:
            done = min(first + TEACHER_BATCH, len(pixels))
            report(Shard(tiles=done, computed=done, seconds=time.perf_counter() - started))
    answers = np.concatenate(maps)
    nuclei, distances = quantise(answers[:, :3])
    _array(group, "keys")[part] = 0  # what was there holds no more from here on
    _array(group, "nuclei")[part] = nuclei
    _array(group, "distances")[part] = distances
    _array(group, "appearance")[part] = quantise_appearance(answers[:, 3:])
    _array(group, "keys")[part] = wanted
    seconds = time.perf_counter() - started
    return Shard(tiles=len(pixels), computed=len(pixels), seconds=seconds)


def write_responses(
    folder: Path,
    origin: Origin,
    teacher: Teacher,
    pixels: Pixels,
    *,
    report: Callable[[Shard], None] | None = None,
) -> Shard:
    """Write the responses to (N, S, S, 3) tiles with their context; goes on where it stopped."""
    create_cache(folder, origin, count=len(pixels))
    total = Shard()
    for part in shards_of(len(pixels)):
        before = total

        def tell(done: Shard, before: Shard = before) -> None:
            if report:
                report(before + done)

        total += write_shard(folder, origin, teacher, pixels[part], start=part.start, report=tell)
        tell(total, Shard())
    return total


class Responses:
    """The responses to a set of tiles, read at any place.

    Raises
    ------
    ResponseError
        If the folder holds responses of another teacher or to other tiles, or not yet all.
    DiskFullError
        If they fit neither into memory nor into the temporary folder.
    """

    def __init__(self, folder: Path, origin: Origin, keys: NDArray[np.uint8]) -> None:
        group = _open(folder, origin, mode="r")
        stored = _array(group, "keys")[:]
        if stored.shape != keys.shape:
            raise ResponseError(f"{folder} is of {len(stored)} tiles, not of these {len(keys)}")
        other = int((stored != keys).any(1).sum())
        if other:
            raise ResponseError(
                f"{folder} lacks the responses to {other} of {len(keys)} tiles: "
                "write them with the same tiles and teacher"
            )
        # Unpacked: random access through the shards' indices would cost more time than a training
        # step has. 8 bytes for each 4 pixels of the tiles, whose pixels are 12.
        self._nuclei: NDArray[np.uint8] = _unpack(_array(group, "nuclei"))
        self._distances: NDArray[np.int8] = _unpack(_array(group, "distances"))
        self._appearance: NDArray[np.int8] = _unpack(_array(group, "appearance"))

    def __len__(self) -> int:
        return len(self._nuclei)

    def read(self, index: NDArray[np.integer]) -> NDArray[np.float32]:
        """The maps of some tiles, (B, 8, S/2, S/2): probability, distances and appearance."""
        maps = dequantise(self._nuclei[index], self._distances[index])
        return np.concatenate([maps, dequantise_appearance(self._appearance[index])], axis=1)


def _respond(teacher: Teacher, pixels: Pixels, origin: Origin) -> NDArray[np.float32]:
    """The centre of a teacher's maps at `OUTPUT_STRIDE`, with its nuclei's appearance."""
    if pixels.shape[1:] != (origin.seen_px, origin.seen_px, 3):
        raise ResponseError(
            f"tiles are {pixels.shape[1:]}, with {origin.context_px} px of context on each side "
            f"of {origin.tile_px} they would be {(origin.seen_px, origin.seen_px, 3)}"
        )
    maps = np.asarray(teacher(pixels), np.float32)
    stride = origin.seen_px // maps.shape[-1]
    expected = (len(pixels), 3, origin.seen_px // stride, origin.seen_px // stride)
    if stride not in (1, OUTPUT_STRIDE) or maps.shape != expected:
        raise ResponseError(
            f"the teacher answers {pixels.shape} with {maps.shape}: maps at stride 1 or "
            f"{OUTPUT_STRIDE} are wanted"
        )
    if stride == 1:
        maps = np.stack([reduce_maps(tile, OUTPUT_STRIDE) for tile in maps])
    mpp = origin.mpp * OUTPUT_STRIDE
    looks = [appearance_of_response(*pair, mpp=mpp) for pair in zip(maps, pixels, strict=True)]
    maps = np.concatenate([maps, np.stack(looks)], axis=1)
    margin = origin.context_px // OUTPUT_STRIDE
    end = maps.shape[-1] - margin
    return maps[:, :, margin:end, margin:end]


def _open(folder: Path, origin: Origin, *, mode: Any) -> zarr.Group:
    try:
        group = zarr.open_group(folder, mode=mode)
    except FileNotFoundError as error:
        raise ResponseError(f"no responses at {folder}") from error
    stored, wanted = dict(group.attrs), origin.as_attributes()
    different = [name for name in wanted if stored.get(name) != wanted[name]]
    if different:
        says = ", ".join(
            f"{name} {stored.get(name)} instead of {wanted[name]}" for name in different
        )
        raise ResponseError(f"{folder} holds other responses ({says}): choose another folder")
    return group


def _array(group: zarr.Group, name: str) -> Any:
    # Zarr's indexing promises an array or a scalar; of these arrays it is always an array.
    return group[name]


def _unpack(array: Any) -> NDArray[Any]:
    """All of a stored array, which need not fit into memory."""
    unpacked = room_for(array.shape, array.dtype)
    for part in shards_of(array.shape[0]):
        unpacked[part] = array[part]
    return unpacked
