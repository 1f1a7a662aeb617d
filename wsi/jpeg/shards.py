"""The JPEG tiles of an OME-Zarr pyramid: chunks behind the ``jpeg`` codec, in shards.

Source: Zarr v3 and its `sharding_indexed` codec: a shard ends with (offset, length) of each of its
chunks, 64-bit little-endian, and a CRC-32C of those.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
import zarr
from numpy.typing import NDArray

from wsi.errors import UnsupportedSlideError
from wsi.jpeg.stream import Colour, Frame, JpegError, read_frame
from wsi.jpeg.tiles import JpegTiles, TiledLevel
from wsi.ngff_read import read_multiscale
from wsi.pyramid.shard import ABSENT

CHECKSUM_BYTES = 4
INNER_CODECS = [{"name": "transpose", "configuration": {"order": [1, 2, 0]}}, "jpeg"]
TRIED = 8  # tiles whose header may be damaged before the level is given up
BLANK = 255
# A damaged file can claim any size. Slides of a million pixels squared have as many.
MOST_TILES, MOST_SHARDS = 1 << 24, 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sharded:
    """An array of shards: sizes as (width, height), in pixels; `separator` in shards' names."""

    dimensions: tuple[int, int]
    tile: tuple[int, int]
    shard: tuple[int, int]
    colour: Colour
    separator: str


def shard_tiles(path: Path) -> JpegTiles | None:
    """The tiles of an OME-Zarr 0.5 image's finest levels, as far as they are JPEG in shards.

    Tiles that the image's ``validity`` calls unreadable, and those of a shard whose index is
    damaged, have a place beyond their file's end, so that reading them is an error.

    Returns
    -------
    Levels from 0 on, up to the first that is stored in another way, does not begin at (0, 0), or
    was computed from one with unreadable tiles: which of its pixels are good no tile can tell.
    None if that is level 0 or the folder is no such image.
    """
    try:
        image = read_multiscale(_metadata(path).get("attributes", {}))
    except UnsupportedSlideError:
        return None
    levels: list[TiledLevel] = []
    is_whole = True  # the last level of which it is known what decoded
    for name, corner in zip(image.paths, image.corners, strict=True):
        sharded = _sharded(_metadata(path / name))
        if sharded is None or corner != (0, 0):
            break
        valid = _read_validity(path / "validity" / name)
        level = _level(path / name, sharded, valid) if is_whole or valid is not None else None
        if level is None:
            break
        levels.append(level)
        is_whole = is_whole if valid is None else bool(valid.all())
    return JpegTiles(levels=tuple(levels)) if levels else None


def _metadata(folder: Path) -> dict[str, Any]:
    try:
        found = json.loads((folder / "zarr.json").read_bytes())
    except (FileNotFoundError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _sharded(array: dict[str, Any]) -> _Sharded | None:
    """What matters of an array's metadata; None if it is stored in another way than ours."""
    try:
        (sharding,) = array["codecs"]
        settings = sharding["configuration"]
        transpose, jpeg = settings["codecs"]
        channels, tile_height, tile_width = settings["chunk_shape"]
        keys = array["chunk_key_encoding"]
        as_ours = (
            sharding["name"] == "sharding_indexed"
            and settings.get("index_location", "end") == "end"
            and [codec["name"] for codec in settings["index_codecs"]] == ["bytes", "crc32c"]
            and settings["index_codecs"][0]["configuration"] == {"endian": "little"}
            and [transpose, jpeg["name"]] == INNER_CODECS
            and (array["data_type"], array["fill_value"], keys["name"])
            == ("uint8", BLANK, "default")
            and channels == array["shape"][0] == 3
        )
        _, shard_height, shard_width = array["chunk_grid"]["configuration"]["chunk_shape"]
        _, height, width = array["shape"]
    except (KeyError, TypeError, ValueError):
        return None
    if not as_ours:
        return None
    return _Sharded(
        dimensions=(width, height),
        tile=(tile_width, tile_height),
        shard=(shard_width, shard_height),
        colour=jpeg["configuration"]["encoded_color_space"],
        separator=keys.get("configuration", {}).get("separator", "/"),
    )


def _level(folder: Path, sharded: _Sharded, valid: NDArray[np.bool_] | None) -> TiledLevel | None:
    (width, height), (tile_width, tile_height) = sharded.dimensions, sharded.tile
    columns, rows = -(-width // tile_width), -(-height // tile_height)
    across, down = sharded.shard[0] // tile_width, sharded.shard[1] // tile_height
    if columns * rows > MOST_TILES or columns * rows > MOST_SHARDS * across * down:
        return None
    files: list[Path] = []
    file_of = np.zeros((rows, columns), np.int32)
    places = np.zeros((rows, columns, 2), np.int64)  # offset, length
    for top in range(0, rows, down):
        for left in range(0, columns, across):
            name = sharded.separator.join(["c", "0", str(top // down), str(left // across)])
            file = folder / name
            if file.is_file():
                block = np.s_[top : top + down, left : left + across]
                file_of[block] = len(files)
                index = _index(file, down, across)
                places[block] = index[: places[block].shape[0], : places[block].shape[1]]
                files.append(file)
    if not files or (valid is not None and valid.shape != (rows, columns)):
        return None
    if valid is not None:
        beyond = np.array([_beyond(file) for file in files])
        places[~valid] = beyond[file_of[~valid]]
    offsets, lengths = places[..., 0].ravel(), places[..., 1].ravel()
    frame = _frame(files, file_of.ravel(), offsets, lengths)
    if frame is None or (frame.width, frame.height) != sharded.tile:
        return None
    return TiledLevel(
        dimensions=sharded.dimensions,
        tile=sharded.tile,
        files=tuple(files),
        file_of=file_of.ravel(),
        offsets=offsets,
        lengths=lengths,
        tables=None,
        colour=sharded.colour,
        frame=frame,
        is_complete=True,
    )


def _read_validity(path: Path) -> NDArray[np.bool_] | None:
    """What decoded, an element a tile, or None; one that cannot be read has the slide refused."""
    if not (path / "zarr.json").is_file():
        return None
    try:
        return np.asarray(zarr.open_array(path, mode="r")[:], np.bool_)
    except Exception as error:  # zarr raises whatever goes wrong in malformed metadata
        raise UnsupportedSlideError(f"{path}: the record of what decoded: {error}") from error


def _index(file: Path, down: int, across: int) -> NDArray[np.int64]:
    """(down, across, 2) offsets and lengths of a shard's chunks; absent ones have length 0."""
    length = down * across * 16
    with file.open("rb") as shard:
        size = shard.seek(0, 2)
        shard.seek(max(0, size - length - CHECKSUM_BYTES))
        packed, checksum = shard.read(length), shard.read(CHECKSUM_BYTES)
    # The checksum of an empty file is right: that of nothing is 0.
    if len(packed) < length or google_crc32c.value(packed) != int.from_bytes(checksum, "little"):
        return np.full((down, across, 2), _beyond(file), np.int64)
    index = np.frombuffer(packed, "<u8").reshape(down, across, 2)
    present = index[..., 1:] != ABSENT
    return np.where(present, index, 0).astype(np.int64)


def _beyond(file: Path) -> tuple[int, int]:
    """Offset and length of a tile that cannot be read."""
    return file.stat().st_size, 1


def _frame(
    files: list[Path],
    file_of: NDArray[np.int32],
    offsets: NDArray[np.int64],
    lengths: NDArray[np.int64],
) -> Frame | None:
    """The header of the first tile that has one."""
    for place in np.flatnonzero(lengths)[:TRIED].tolist():
        with files[file_of[place]].open("rb") as file:
            file.seek(int(offsets[place]))
            stream = file.read(int(lengths[place]))
        try:
            return read_frame(stream)
        except JpegError:
            continue
    return None
