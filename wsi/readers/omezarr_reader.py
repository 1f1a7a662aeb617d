"""Slides as OME-Zarr 0.4 and 0.5, ours and others', in a folder or behind a URL."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.codecs import BloscCodec
from zarr.errors import ContainsArrayError

from wsi.errors import (
    SlideNotFoundError,
    UnreachableSlideError,
    UnreadableRegionError,
    UnsupportedSlideError,
)
from wsi.ngff_read import ome_attributes, read_multiscale
from wsi.readers.bioformats2raw import LAYOUT, read_series
from wsi.readers.omezarr_checks import check_channels, check_pixels, check_sizes
from wsi.readers.omezarr_extras import find_associated, read_profile, read_validity
from wsi.remote import is_remote
from wsi.slide import Pixels, Slide
from wsi.store import WholeBloscStore, open_store

MARKERS = ("zarr.json", ".zgroup", ".zattrs", ".zarray")


def is_zarr(path: Path) -> bool:
    """Whether a local folder is a Zarr group or array; not, where rights to look are missing."""
    return any(os.path.isfile(path / marker) for marker in MARKERS)


class OmeZarrReader(Slide):
    """An OME-Zarr image of three 8-bit channels, taken as red, green and blue.

    Axes may be any of t, c, z, y, x with one time and one plane. Chunks that are not stored show
    the array's fill value. In pyramids of ours, what the source slide could not decode is not
    readable here either, and the slide's vendor, resolution's source, associated images and
    colour profile are those of the source.

    Attributes
    ----------
    levels
        The Zarr array of each level, finest first.

    Raises
    ------
    SlideNotFoundError
        If there is no Zarr group.
    UnsupportedSlideError
        If the group is no image of a kind that is read.
    UnreachableSlideError
        If a URL does not answer.
    """

    reader = "omezarr"

    levels: tuple[zarr.Array[Any], ...]

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._describe(self._open())
        except (SlideNotFoundError, UnreachableSlideError):
            raise
        except UnsupportedSlideError as error:
            raise UnsupportedSlideError(f"{path.name}: {error}") from error
        except Exception as error:  # zarr raises whatever goes wrong in malformed metadata
            said = f"{type(error).__name__}: {error}"
            raise UnsupportedSlideError(f"{path.name}: the Zarr metadata: {said}") from error

    def _open(self) -> zarr.Group:
        """The group at the path; an array there is refused."""
        store = open_store(self._path)
        try:
            # Not consolidated: such a copy of the metadata may be older than the metadata.
            return zarr.open_group(store, mode="r", use_consolidated=False)
        except ContainsArrayError as error:
            raise UnsupportedSlideError(
                "a Zarr array, one level of an image: give the folder above it"
            ) from error
        except (FileNotFoundError, NotADirectoryError) as error:
            raise SlideNotFoundError(
                f"no OME-Zarr at {self._path}: there is no zarr.json and no .zgroup; "
                "give the image's own folder"
            ) from error

    def _describe(self, root: zarr.Group) -> None:
        """Fill in what a `Slide` says of itself."""
        attributes = root.attrs.asdict()
        self._beside: Mapping[str, zarr.Group | zarr.Array[Any]] = {}
        group = root
        if LAYOUT in ome_attributes(attributes):
            group, self._beside = read_series(root, self._path)
        image = read_multiscale(group.attrs.asdict())
        self._image = image
        self.levels = tuple(_array(group, name) for name in image.paths)
        for level in self.levels:
            check_pixels(level, image.axes)
        check_channels(ome_attributes(group.attrs.asdict()))
        self.level_dimensions = tuple(_size(level, image.axes) for level in self.levels)
        self.level_downsamples = image.downsamples
        check_sizes(image, self.level_dimensions)
        ours = attributes.get("raypath")
        ours = ours if isinstance(ours, Mapping) else {}
        self._validity = dict(read_validity(group, len(self.levels))) if ours else {}
        if ours and not self._beside:
            self._beside = dict(find_associated(group))
        self.associated_images = tuple(self._beside)
        self.icc_profile = read_profile(group) if ours else None
        self.vendor = str(ours.get("vendor", "ome-zarr"))
        self.properties = self._properties(ours)
        if is_remote(self._path):
            self._check_ranges(self.levels[0])

    def _properties(self, ours: Mapping[str, Any]) -> dict[str, str]:
        """What the metadata says, under OpenSlide's names; not the image's own, often a file's."""
        said = {
            "openslide.vendor": self.vendor,
            "openslide.level-count": str(len(self.levels)),
            "ome-zarr.version": self._image.version,
        }
        if self._image.mpp is not None:
            x, y = self._image.mpp
            said |= {"openslide.mpp-x": str(x), "openslide.mpp-y": str(y)}
        if "level0_mpp" in ours:
            said |= {f"openslide.mpp-{axis}": str(float(ours["level0_mpp"])) for axis in "xy"}
            said["raypath.mpp-source"] = str(ours.get("mpp_source", ""))
        for n, level in enumerate(self.levels):
            width, height = self.level_dimensions[n]
            chunk = dict(zip(self._image.axes, level.chunks, strict=True))
            said |= {
                f"openslide.level[{n}].width": str(width),
                f"openslide.level[{n}].height": str(height),
                f"openslide.level[{n}].downsample": str(self.level_downsamples[n]),
                f"openslide.level[{n}].tile-width": str(chunk["x"]),
                f"openslide.level[{n}].tile-height": str(chunk["y"]),
            }
        return said

    def read_region(self, location: tuple[int, int], level: int, size: tuple[int, int]) -> Pixels:
        """See `Slide.read_region`."""
        downsample = self.level_downsamples[level]
        corner = self._image.corners[level]
        left, top = (round((v - c) / downsample) for v, c in zip(location, corner, strict=True))
        width, height = self.level_dimensions[level]
        x0, x1 = max(left, 0), min(left + size[0], width)
        y0, y1 = max(top, 0), min(top + size[1], height)
        region = np.full((size[1], size[0], 3), 255, np.uint8)
        if x1 <= x0 or y1 <= y0:
            return region
        where = f"{self._path.name}: level {level}, {size} px at {location}"
        if self._touches_invalid((x0, y0, x1, y1), level):
            raise UnreadableRegionError(
                f"{where}: the slide that this pyramid was made from did not decode there"
            )
        try:
            pixels = _read(self.levels[level], self._image.axes, x0, y0, x1, y1)
        except Exception as error:  # codecs and stores raise whatever went wrong in them
            raise UnreadableRegionError(f"{where}: {error}") from error
        region[y0 - top : y1 - top, x0 - left : x1 - left] = pixels
        return region

    def _touches_invalid(self, box: tuple[int, int, int, int], level: int) -> bool:
        """Whether a box (left, top, right, bottom) of a level lies over a chunk that is no good."""
        # A level that was computed is as good as the slide's own level it was computed from.
        known = max((k for k in self._validity if k <= level), default=None)
        if known is None:
            return False
        valid, edge = self._validity[known]
        scale = self.level_downsamples[level] / self.level_downsamples[known]
        cells = np.array(box) * scale / edge
        x0, y0 = np.floor(cells[:2] + 1e-9).astype(int)
        x1, y1 = np.ceil(cells[2:] - 1e-9).astype(int)
        return not valid[y0:y1, x0:x1].all()

    def read_associated(self, name: str) -> Pixels:
        """See `Slide.read_associated`."""
        found = self._beside[name]
        try:
            if isinstance(found, zarr.Array):
                image, axes = found, "cyx"
            else:
                said = read_multiscale(found.attrs.asdict())
                image, axes = _array(found, said.paths[0]), said.axes
            check_pixels(image, axes)
            return _read(image, axes, 0, 0, *_size(image, axes))
        except Exception as error:  # as above
            message = f"{self._path.name}: associated image {name}: {error}"
            raise UnreadableRegionError(message) from error

    def _check_ranges(self, level: zarr.Array[Any]) -> None:
        """Refuse a server that gives whole files when asked for a part: shards need parts."""
        if level.shards is None:
            return
        name = "zarr.json"
        url: Any = self._path / name
        if len(url.fs.cat_file(url.path, start=0, end=1)) != 1:
            raise UnsupportedSlideError(
                "the pyramid is sharded and its server does not answer range requests: use "
                "another server (nginx, Apache, S3), or copy the folder first"
            )

    def close(self) -> None:
        """See `Slide.close`; nothing is held open between reads."""


def _array(group: zarr.Group, name: str) -> zarr.Array[Any]:
    found = group.get(name)
    if not isinstance(found, zarr.Array):
        raise UnsupportedSlideError(f"level {name!r} of the metadata is not there")
    if found.shards is None and any(_is_blosc(codec) for codec in found.compressors):
        return zarr.open_array(WholeBloscStore(found.store), path=found.path, mode="r")
    return found


def _is_blosc(codec: Any) -> bool:
    return isinstance(codec, BloscCodec) or getattr(codec, "codec_id", "") == "blosc"


def _size(array: zarr.Array[Any], axes: str) -> tuple[int, int]:
    """(width, height)."""
    return int(array.shape[axes.index("x")]), int(array.shape[axes.index("y")])


def _read(array: zarr.Array[Any], axes: str, x0: int, y0: int, x1: int, y1: int) -> Pixels:
    """A box of an array as (H, W, 3)."""
    picked = {"x": slice(x0, x1), "y": slice(y0, y1), "c": slice(None)}
    pixels = np.asarray(array[tuple(picked.get(axis, 0) for axis in axes)])
    kept = [axis for axis in axes if axis in picked]
    return pixels.transpose([kept.index(axis) for axis in "yxc"])
