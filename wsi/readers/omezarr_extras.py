"""What pyramids of ours hold beside their levels."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

ASSOCIATED = ("label", "macro", "thumbnail")


def read_validity(
    group: zarr.Group, count: int
) -> Iterator[tuple[int, tuple[NDArray[np.bool_], int]]]:
    """Of each level that has it: what decoded, an element a cell, and a cell's edge in pixels."""
    if "validity" not in group:
        return
    for level in range(count):
        validity: Any = group.get(f"validity/{level}")
        if isinstance(validity, zarr.Array):
            edge: Any = validity.attrs["chunk_px"]
            yield level, (np.asarray(validity[...], np.bool_), int(edge))


def find_associated(group: zarr.Group) -> Iterator[tuple[str, zarr.Array[Any]]]:
    """The images beside the scan; asked for by name, as a web server has no listing."""
    if "associated" not in group:
        return
    for name in ASSOCIATED:
        found = group.get(f"associated/{name}")
        if isinstance(found, zarr.Array):
            yield name, found


def read_profile(group: zarr.Group) -> bytes | None:
    """The colour profile of the scan."""
    profile = group.get("icc/profile")
    return np.asarray(profile[...]).tobytes() if isinstance(profile, zarr.Array) else None
