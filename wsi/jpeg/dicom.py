"""The JPEG tiles of a DICOM whole-slide series: the frames of one instance a level.

Source: DICOM PS3.3 C.7.6.17.3 (tiled organisation), C.8.12.4 (VL whole slide microscopy), and
PS3.5 A.4 (encapsulated pixel data).
"""

import struct
import warnings
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from wsi.jpeg.codec import can_express
from wsi.jpeg.stream import Colour, Frame, JpegError, complete, read_frame
from wsi.jpeg.tiles import JpegTiles, TiledLevel
from wsi.slide import Slide

if TYPE_CHECKING:
    from pydicom import Dataset

JPEG_BASELINE = "1.2.840.10008.1.2.4.50"
WHOLE_SLIDE = "1.2.840.10008.5.1.4.1.1.77.1.6"
COLOURS: dict[str, Colour] = {"RGB": "rgb", "YBR_FULL_422": "ycbcr"}
PIXEL_DATA, ITEM = (0x7FE0, 0x0010), (0xFFFE, 0xE000)
PIXELS_HEADER = struct.Struct("<HH2sxxL")  # group, element, kind, length
ITEM_HEADER = struct.Struct("<HHL")  # group, element, length
PREAMBLE, MAGIC = 128, b"DICM"
TRIED = 8  # frames whose header may be damaged before the level is given up

Places = tuple[NDArray[np.int64], NDArray[np.int64]]  # offsets and lengths


def dicom_tiles(path: Path, slide: Slide) -> JpegTiles | None:
    """The tiles of every level of an open slide; None where they cannot be used as they are.

    That is so when a level's instance is not beside the one at `path`, is not baseline JPEG with
    one fragment a frame, or has several focal planes or optical paths.
    """
    by_size = {i.dimensions: i for i in _instances(path)}
    wanted = [by_size.get(dimensions) for dimensions in slide.level_dimensions]
    levels = [_level(instance) for instance in wanted if instance is not None]
    found = tuple(level for level in levels if level is not None)
    return JpegTiles(levels=found) if len(found) == len(slide.level_dimensions) else None


def series_files(path: Path) -> list[Path]:
    """The file at `path` and those beside it of the same series; none if it is no DICOM slide."""
    return [instance.path for instance in _instances(path)]


def series_in(folder: Path) -> dict[Path, list[Path]]:
    """Of each file of a DICOM slide in `folder` what `series_files` is, each header read once."""
    series: dict[str, list[Path]] = defaultdict(list)
    for file in sorted(folder.iterdir()):
        instance = _read_neighbour(file)
        if instance is not None:
            series[instance.header.SeriesInstanceUID].append(file)
    return {file: files for files in series.values() for file in files}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Instance:
    """A file of the series, its header, and where the header ends."""

    path: Path
    header: "Dataset"
    end: int

    @property
    def dimensions(self) -> tuple[int, int]:
        return int(self.header.TotalPixelMatrixColumns), int(self.header.TotalPixelMatrixRows)


def _instances(path: Path) -> list[_Instance]:
    """The whole-slide images in the folder of `path` that are of its series."""
    own = _read_header(path)
    if own is None:
        return []
    others = (_read_neighbour(file) for file in sorted(path.parent.iterdir()) if file != path)
    series = own.header.SeriesInstanceUID
    return [own] + [i for i in others if i is not None and i.header.SeriesInstanceUID == series]


def _read_neighbour(path: Path) -> _Instance | None:
    """As `_read_header`; a file that we may not read, or cannot, is none of the slide's."""
    try:
        return _read_header(path)
    except OSError:
        return None


def _read_header(path: Path) -> _Instance | None:
    """A file's header, without its pixels; None if it is no level of a slide."""
    if not has_magic(path):
        return None
    import pydicom  # here, because it takes longer than copying a small slide
    from pydicom.errors import InvalidDicomError

    try:
        with path.open("rb") as file, warnings.catch_warnings():
            # Of values that are not as they should be, in files that may be none of the slide's.
            warnings.simplefilter("ignore", UserWarning)
            header = pydicom.dcmread(file, stop_before_pixels=True)
            end = file.tell()
            is_level = (
                header.get("SOPClassUID") == WHOLE_SLIDE
                and "VOLUME" in header.get("ImageType", [])
                and "SeriesInstanceUID" in header
                and "TotalPixelMatrixColumns" in header
                and "TotalPixelMatrixRows" in header
            )
    except (InvalidDicomError, EOFError, NotImplementedError, ValueError, struct.error):
        return None  # another file in the folder may be anything
    return _Instance(path=path, header=header, end=end) if is_level else None


def has_magic(path: Path) -> bool:
    """Whether a file says that it is DICOM, as PS3.10 section 7.1 has it."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        file.seek(PREAMBLE)
        return file.read(len(MAGIC)) == MAGIC


def _level(instance: _Instance) -> TiledLevel | None:
    header = instance.header
    colour = COLOURS.get(header.get("PhotometricInterpretation", ""))
    one_plane = (
        int(header.get("NumberOfOpticalPaths", 1)) == 1
        and int(header.get("TotalPixelMatrixFocalPlanes", 1)) == 1
    )
    is_jpeg = header.file_meta.TransferSyntaxUID == JPEG_BASELINE
    if colour is None or not is_jpeg or not one_plane or header.get("SamplesPerPixel") != 3:
        return None
    tile = (int(header.Columns), int(header.Rows))
    columns, rows = (-(-n // t) for n, t in zip(instance.dimensions, tile, strict=True))
    frames = int(header.get("NumberOfFrames", 1))
    places = _places(header, tile, columns, rows, frames)
    if places is None or tile[0] != tile[1]:
        return None
    with instance.path.open("rb") as file:
        stored = _fragments(file, instance, frames)
        if stored is None:
            return None
        frame = _first_frame(file, stored, colour)
    if frame is None or not frame.is_baseline or (frame.width, frame.height) != tile:
        return None
    if not can_express(frame.sampling, colour):
        return None
    offsets, lengths = np.zeros((2, columns * rows), np.int64)
    offsets[places], lengths[places] = stored
    return TiledLevel(
        dimensions=instance.dimensions,
        tile=tile,
        files=(instance.path,),
        file_of=np.zeros(columns * rows, np.int32),
        offsets=offsets,
        lengths=lengths,
        tables=None,
        colour=colour,
        frame=frame,
    )


def _places(
    header: "Dataset", tile: tuple[int, int], columns: int, rows: int, frames: int
) -> NDArray[np.int64] | None:
    """The number of each frame's tile, row by row; None if frames are not tiles of one grid."""
    if header.get("DimensionOrganizationType") == "TILED_FULL":
        return np.arange(frames) if frames == columns * rows else None
    found = []
    for groups in header.get("PerFrameFunctionalGroupsSequence", []):
        position = groups.get("PlanePositionSlideSequence", [None])[0]
        if position is None:
            return None
        x = int(position.ColumnPositionInTotalImagePixelMatrix) - 1
        y = int(position.RowPositionInTotalImagePixelMatrix) - 1
        on_grid = x % tile[0] == y % tile[1] == 0
        if not on_grid or not 0 <= x < columns * tile[0] or not 0 <= y < rows * tile[1]:
            return None
        found.append(y // tile[1] * columns + x // tile[0])
    return np.array(found, np.int64) if len(set(found)) == frames == len(found) else None


def _fragments(file: BinaryIO, instance: _Instance, frames: int) -> Places | None:
    """Offsets in the file and lengths of the frames; None if they are not one fragment each."""
    file.seek(instance.end)
    start = file.read(PIXELS_HEADER.size + ITEM_HEADER.size)
    if len(start) < PIXELS_HEADER.size + ITEM_HEADER.size:
        return None
    group, element, kind, length = PIXELS_HEADER.unpack_from(start)
    if (group, element) != PIXEL_DATA or kind != b"OB" or length != 0xFFFFFFFF:
        return None
    _, _, table_length = ITEM_HEADER.unpack_from(start, PIXELS_HEADER.size)
    stored = file.read(table_length)
    if len(stored) < table_length:
        return None
    table = np.frombuffer(stored, "<u4").astype(np.int64)
    first = file.tell()
    extended: Any = instance.header.get("ExtendedOffsetTable")
    if extended is not None:
        starts = np.frombuffer(extended, "<u8").astype(np.int64)
        lengths = np.frombuffer(instance.header.ExtendedOffsetTableLengths, "<u8").astype(np.int64)
    elif len(table) == frames and (np.diff(table) > 0).all():
        last = _item_length(file, first + int(table[-1]))
        starts, lengths = table, np.append(np.diff(table) - ITEM_HEADER.size, last)
    else:
        starts, lengths = _walk(file, first)
    if len(starts) != frames or len(lengths) != frames:
        return None
    # A frame of several fragments is longer than its first one.
    whole = _item_length(file, first + int(starts[0]))
    return (first + starts + ITEM_HEADER.size, lengths) if 0 <= whole - lengths[0] <= 1 else None


def _item_length(file: BinaryIO, offset: int) -> int:
    """Length of the fragment whose header is at `offset`; -1 if there is none."""
    file.seek(offset)
    header = file.read(ITEM_HEADER.size)
    if len(header) < ITEM_HEADER.size:
        return -1
    group, element, length = ITEM_HEADER.unpack(header)
    return int(length) if (group, element) == ITEM else -1


def _walk(file: BinaryIO, first: int) -> Places:
    """Starts of all fragments, counted from the first one's, and their lengths."""
    starts, lengths, at = [], [], first
    while (length := _item_length(file, at)) >= 0:
        starts.append(at - first)
        lengths.append(length)
        at += ITEM_HEADER.size + length
    return np.array(starts, np.int64), np.array(lengths, np.int64)


def _first_frame(file: BinaryIO, stored: Places, colour: Colour) -> Frame | None:
    """The frame header of the first stream that has one; None if the first few have not."""
    for offset, length in zip(*(values[:TRIED].tolist() for values in stored), strict=True):
        file.seek(offset)
        try:
            return read_frame(complete(file.read(length), tables=None, colour=colour))
        except JpegError:
            continue
    return None
