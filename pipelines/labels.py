"""`labels/<name>` of a slide's pyramid: added when complete, kept, and left out."""

import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import dask
import dask.array as da
import zarr

from wsi import ngff
from wsi.atomic import TMP_MARK, publish
from wsi.labels import Rgba, write_labels
from wsi.ngff import Version

VERSION: Version = "0.5"  # of OME-NGFF, of a run's pyramids


def publish_labels(
    image: Path,
    name: str,
    labels: da.Array,
    *,
    downsample: float,
    level0_mpp: float,
    colours: Mapping[int, Rgba],
    ours: Mapping[str, Any],
    meanings: Mapping[int, str] | None = None,
) -> None:
    """Write lazy labels (H, W) as ``labels/<name>`` of an OME-Zarr image.

    They get their place when they are complete. See `wsi.labels.write_labels`.
    """
    group = zarr.open_group(image, mode="r+")
    with TemporaryDirectory(prefix=TMP_MARK, dir=image.parent) as folder:
        aside = zarr.create_group(Path(folder) / image.name)
        # One block after the other: each takes some hundred megabytes with its coarser levels.
        with dask.config.set(scheduler="synchronous"):
            write_labels(
                aside,
                name,
                labels,
                downsample=downsample,
                level0_mpp=level0_mpp,
                count=_levels(group),
                colours=colours,
                meanings=meanings,
                ours=ours,
            )
        listing = group.require_group("labels")
        publish(Path(folder) / image.name / "labels" / name, image / "labels" / name)
    _list(listing, [*_listed(listing), name])


def carry_labels(old: Path, new: Path) -> None:
    """Copy the labels that later steps added to a pyramid into the one that is to replace it.

    None are where there is no `old` one, it is damaged, or its levels are others: a label has as
    many (OME-NGFF).
    """
    try:
        before = zarr.open_group(old, mode="r")
        levels, names = _levels(before), _listed(before["labels"])
    except (OSError, ValueError, LookupError):
        return  # it is replaced because it is not what it was
    after = zarr.open_group(new, mode="r+")
    if levels != _levels(after):
        return
    listing = after.require_group("labels")
    added = [n for n in names if n not in _listed(listing) and (old / "labels" / n).is_dir()]
    for name in added:
        shutil.copytree(old / "labels" / name, new / "labels" / name)
    _list(listing, [*_listed(listing), *added])


def list_labels(image: Path) -> None:
    """Leave labels that were removed out of the listing, which viewers go by."""
    listing = zarr.open_group(image / "labels", mode="r+")
    _list(listing, [name for name in _listed(listing) if (image / "labels" / name).is_dir()])


def _levels(image: zarr.Group) -> int:
    ome: Any = image.attrs["ome"]
    return len(ome["multiscales"][0]["datasets"])


def _listed(listing: Any) -> list[str]:
    return list(listing.attrs.asdict().get("ome", {}).get("labels", ()))


def _list(listing: zarr.Group, names: Iterable[str]) -> None:
    unique = list(dict.fromkeys(names))
    ngff.put(listing, {"version": VERSION, "labels": unique}, version=VERSION)
