"""What each kind of file that a run writes must hold, whatever its digest."""

import itertools
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow.parquet as pq
import zarr
from PIL import Image

from pipelines.runfolder import (
    HEATMAP_NAME,
    IMAGE_NAME,
    NUCLEI_NAME,
    PREDICTION_NAME,
)
from pipelines.verify.problem import Problem
from wsi.ngff_read import read_multiscale

Facts = dict[str, Any]  # what a file says, by the record's field


def read_contents(path: Path, facts: Facts) -> Iterator[Problem]:
    """Read a file or folder of a slide wholly; adds to `facts` what the record says too.

    Damaged files make libraries raise anything, hence the broad catch: this is the boundary of
    one file.
    """
    read = _reader(path.name)
    if read is None:
        return
    try:
        for message in read(path, facts):
            yield Problem(file=path.name, kind="wrong", message=message)
    except Exception as error:
        what = f"{type(error).__name__}: {str(error).strip() or 'no reason given'}"
        yield Problem(file=path.name, kind="unreadable", message=what[:300])


def _reader(name: str) -> Callable[[Path, Facts], Iterator[str]] | None:
    known = {
        IMAGE_NAME: _read_image,
        HEATMAP_NAME: _read_heatmap,
        NUCLEI_NAME: _read_nuclei,
        PREDICTION_NAME: _read_prediction,
    }
    by_suffix = {
        ".h5": _read_tiles,
        ".json": _read_json,
        ".geojson": _read_geojson,
        ".png": _read_picture,
        ".parquet": _read_table,
    }
    return known.get(name) or by_suffix.get(Path(name).suffix)


def _read_image(path: Path, facts: Facts) -> Iterator[str]:
    """Every chunk of every array decodes, and the levels are as large as they say."""
    group = zarr.open_group(path, mode="r")
    said = read_multiscale(group.attrs.asdict())
    sizes = [_size(group, name, said.axes) for name in said.paths]
    width, height = sizes[0]
    facts |= {"width": width, "height": height}
    for name, size, downsample in zip(said.paths, sizes, said.downsamples, strict=True):
        for have, full in zip(size, (width, height), strict=True):
            if abs(have - full / downsample) > 1:
                yield (
                    f"level {name} is {size[0]} x {size[1]} px, and {width} x {height} px at "
                    f"downsample {downsample:g} are not"
                )
                break
    yield from _decode_all(group)


def _size(group: zarr.Group, name: str, axes: str) -> tuple[int, int]:
    array: Any = group[name]
    return int(array.shape[axes.index("x")]), int(array.shape[axes.index("y")])


def _read_heatmap(path: Path, facts: Facts) -> Iterator[str]:
    group = zarr.open_group(path, mode="r")
    values = np.asarray(group["0"][...])  # type: ignore[index]
    if np.isinf(values).any():
        yield f"{int(np.isinf(values).sum())} values are infinite"
    if np.isnan(values).all():
        yield "no value is a number: nobody looked anywhere"
    yield from _decode_all(group)


def _decode_all(group: zarr.Group) -> Iterator[str]:
    """Read each array shard by shard: one that does not decode is named with its place."""
    for name, member in group.members(max_depth=None):
        if not isinstance(member, zarr.Array):
            continue
        stored = member.shards or member.chunks
        starts = (range(0, n, step) for n, step in zip(member.shape, stored, strict=True))
        for corner in itertools.product(*starts):
            window = tuple(slice(a, a + n) for a, n in zip(corner, stored, strict=True))
            try:
                np.asarray(member[window])
            except Exception as error:  # each codec raises errors of its own
                place = ", ".join(map(str, corner))
                yield f"array {name} does not decode at ({place}): {type(error).__name__}: {error}"
                break


def _read_tiles(path: Path, facts: Facts) -> Iterator[str]:
    with h5py.File(path) as file:
        coords, features = file["coords"], file["features"]
        places, values = coords[:], features[:]
        for dataset in file.values():
            dataset[:]
        size = int(coords.attrs["level0_width"]), int(coords.attrs["level0_height"])
        facts |= {"n_tiles": len(places), "n_invalid_tiles": len(file["invalid_coords"])}
    if places.dtype != np.int64 or places.ndim != 2 or places.shape[1:] != (2,):
        yield f"coords are {places.dtype} {places.shape}, not int64 (N, 2)"
        return
    outside = ((places < 0) | (places >= size)).any(axis=1)
    if outside.any():
        x, y = places[outside][0]
        yield (
            f"{int(outside.sum())} tiles are outside the slide of {size[0]} x {size[1]} px, "
            f"one at ({x}, {y})"
        )
    if len(np.unique(places, axis=0)) < len(places):
        yield "a tile is there twice"
    if len(values) != len(places):
        yield f"{len(values)} embeddings for {len(places)} tiles"
    if not np.isfinite(values).all():
        bad = int((~np.isfinite(values)).any(axis=1).sum())
        yield f"{bad} of {len(values)} embeddings hold NaN or infinity"


def _read_nuclei(path: Path, facts: Facts) -> Iterator[str]:
    with pq.ParquetFile(path) as table:
        facts["n_nuclei"] = table.metadata.num_rows
        for group in range(table.num_row_groups):
            rows = table.read_row_group(group)
            for axis in "xy":
                if not np.isfinite(rows[axis].to_numpy()).all():
                    yield f"a nucleus of block {group} has no finite {axis}"


def _read_prediction(path: Path, facts: Facts) -> Iterator[str]:
    said = _object(path)
    scores: Mapping[str, float] = said["scores"]
    if not np.isclose(sum(scores.values()), 1, atol=1e-6):
        yield f"the scores add up to {sum(scores.values()):g}"
    facts |= {"prediction": said["prediction"], "score": scores.get(said["positive"])}


def _read_json(path: Path, facts: Facts) -> Iterator[str]:
    _object(path)
    yield from ()


def _read_geojson(path: Path, facts: Facts) -> Iterator[str]:
    said = _object(path)
    for number, feature in enumerate(said["features"]):
        kind, rings = feature["geometry"]["type"], feature["geometry"]["coordinates"]
        if not kind or not rings:
            yield f"feature {number} has no shape"


def _object(path: Path) -> dict[str, Any]:
    said = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(said, dict):
        raise TypeError(f"{type(said).__name__} and no object")
    return said


def _read_picture(path: Path, facts: Facts) -> Iterator[str]:
    with Image.open(path) as picture:
        picture.load()
    yield from ()


def _read_table(path: Path, facts: Facts) -> Iterator[str]:
    pq.read_table(path)
    yield from ()
