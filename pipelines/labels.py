"""`labels/<name>` of a slide's pyramid: added, or written anew, when complete."""

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import dask
import dask.array as da
import zarr

from wsi import ngff
from wsi.atomic import TMP_MARK, publish
from wsi.labels import Rgba, write_labels


def publish_labels(
    image: Path,
    name: str,
    labels: da.Array,
    *,
    downsample: float,
    level0_mpp: float,
    colours: Mapping[int, Rgba],
    ours: Mapping[str, Any],
) -> None:
    """Write lazy labels (H, W) as ``labels/<name>`` of an OME-Zarr image.

    They get their place when they are complete. See `wsi.labels.write_labels`.
    """
    group = zarr.open_group(image, mode="r+")
    ome: Any = group.attrs["ome"]
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
                count=len(ome["multiscales"][0]["datasets"]),
                colours=colours,
                ours=ours,
            )
        listing = group.require_group("labels")
        publish(Path(folder) / image.name / "labels" / name, image / "labels" / name)
    listed: Any = listing.attrs.asdict().get("ome", {})
    names = list(dict.fromkeys([*listed.get("labels", ()), name]))
    ngff.put(listing, {"version": ome["version"], "labels": names}, version=ome["version"])
