"""Frames of DICOM slides are read as OpenSlide reads them, wherever their offsets are kept."""

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import imagecodecs
import numpy as np
import openslide
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom import Dataset, FileDataset, dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate, encapsulate_extended
from pydicom.uid import UID, JPEGBaseline8Bit, generate_uid

from wsi.errors import SlideError, SourceChangedError, UnreadableRegionError
from wsi.identity import content_digest, stored_bytes, stored_sizes
from wsi.jpeg.dicom import series_files
from wsi.jpeg.find import find_tiles
from wsi.open import open_slide
from wsi.readers.openslide_reader import OpenSlideReader
from wsi.source import check_unchanged, look_at_source
from wsi.testing import Specimen, render

TILE = 128
SIZES = ((1000, 700), (500, 350), (250, 175))
SPECIMEN = Specimen(seed=9, width=4000, height=4000)
WHOLE_SLIDE = UID("1.2.840.10008.5.1.4.1.1.77.1.6")
Offsets = Literal["basic", "none", "extended"]


def specimen_pixels() -> NDArray[np.uint8]:
    """Level 0 of the specimen."""
    return render(SPECIMEN, x=1500, y=1500, width=SIZES[0][0], height=SIZES[0][1]).rgb


def tiles_of(pixels: NDArray[np.uint8], colour: str) -> list[bytes]:
    """A level's tiles as JPEG streams, row by row; the last ones padded with grey."""
    height, width = pixels.shape[:2]
    padded = np.full((-(-height // TILE) * TILE, -(-width // TILE) * TILE, 3), 99, np.uint8)
    padded[:height, :width] = pixels
    return [
        bytes(
            imagecodecs.jpeg8_encode(
                np.ascontiguousarray(padded[y : y + TILE, x : x + TILE]),
                level=85,
                colorspace="RGB",
                outcolorspace="RGB" if colour == "RGB" else "YCBCR",
                subsampling="444" if colour == "RGB" else "422",
            )
        )
        for y in range(0, padded.shape[0], TILE)
        for x in range(0, padded.shape[1], TILE)
    ]


def group(**values: Any) -> list[Dataset]:
    """A sequence of one item."""
    item = Dataset()
    for name, value in values.items():
        setattr(item, name, value)
    return [item]


def write_instance(
    path: Path,
    size: tuple[int, int],
    *,
    series: str,
    colour: str = "YBR_FULL_422",
    offsets: Offsets = "basic",
    sparse: bool = False,
    change: Callable[[Dataset], None] | None = None,
    level0: NDArray[np.uint8] | None = None,
) -> None:
    """Write one level, at 0.5 µm, of the specimen or of what `level0` (H, W, 3) shows.

    `sparse` leaves out every fifth tile.
    """
    width, height = size
    source = specimen_pixels() if level0 is None else level0
    factor = source.shape[1] // width
    squares = source[: height * factor, : width * factor].reshape(height, factor, width, factor, 3)
    streams = tiles_of(np.rint(squares.mean(axis=(1, 3))).astype(np.uint8), colour)
    columns = -(-width // TILE)
    kept = [n for n in range(len(streams)) if not (sparse and n % 5 == 2)]
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = WHOLE_SLIDE
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = JPEGBaseline8Bit
    ds = FileDataset(str(path), {}, file_meta=meta, preamble=bytes(128))
    ds.SOPClassUID, ds.SOPInstanceUID = WHOLE_SLIDE, meta.MediaStorageSOPInstanceUID
    ds.StudyInstanceUID = ds.SeriesInstanceUID = ds.FrameOfReferenceUID = series
    ds.Modality, ds.InstanceNumber = "SM", str(factor)
    kind = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    ds.ImageType = kind if factor == 1 else ["DERIVED", "PRIMARY", "VOLUME", "RESAMPLED"]
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PlanarConfiguration = 3, colour, 0
    ds.BitsAllocated = ds.BitsStored = 8
    ds.HighBit, ds.PixelRepresentation = 7, 0
    ds.Rows = ds.Columns = TILE
    ds.NumberOfFrames = str(len(kept))
    ds.TotalPixelMatrixColumns, ds.TotalPixelMatrixRows = size
    ds.ImagedVolumeWidth, ds.ImagedVolumeHeight = (n * 0.0005 for n in source.shape[1::-1])
    ds.DimensionOrganizationType = "TILED_SPARSE" if sparse else "TILED_FULL"
    ds.OpticalPathSequence = group(OpticalPathIdentifier="1")
    spacing = group(PixelSpacing=[0.0005 * factor, 0.0005 * factor])
    ds.SharedFunctionalGroupsSequence = group(PixelMeasuresSequence=spacing)
    if sparse:
        ds.PerFrameFunctionalGroupsSequence = [
            group(
                PlanePositionSlideSequence=group(
                    ColumnPositionInTotalImagePixelMatrix=n % columns * TILE + 1,
                    RowPositionInTotalImagePixelMatrix=n // columns * TILE + 1,
                )
            )[0]
            for n in kept
        ]
    streams = [streams[n] for n in kept]
    if offsets == "extended":
        pixels, table, lengths = encapsulate_extended(streams)
        ds.PixelData, ds.ExtendedOffsetTable, ds.ExtendedOffsetTableLengths = pixels, table, lengths
    else:
        ds.PixelData = encapsulate(streams, has_bot=offsets == "basic")
    if change is not None:
        change(ds)
    ds.save_as(path, enforce_file_format=True)


def write_series(folder: Path, **options: Any) -> Path:
    """A series of three levels among files that are none of it; returns the middle level."""
    series = generate_uid()
    for number, size in enumerate(SIZES):
        write_instance(folder / f"{number}.dcm", size, series=series, **options)
    write_instance(folder / "other.dcm", SIZES[1], series=generate_uid(), colour="RGB")
    (folder / "notes.txt").write_text("not DICOM")
    whole = (folder / "0.dcm").read_bytes()
    for length in range(340, 440, 3):  # where identifiers end depends on their random lengths
        (folder / f"cut{length}.dcm").write_bytes(whole[:length])
    (folder / "folder").mkdir()
    return folder / "1.dcm"


def assert_openslides(path: Path) -> None:
    """Every level of an open slide with its tiles found is OpenSlide's, edges and outside too."""
    with open_slide(path) as slide, OpenSlideReader(path) as expected:
        assert slide.reader == "jpeg"
        assert slide.level_dimensions == expected.level_dimensions
        for level, (width, height) in enumerate(slide.level_dimensions):
            for location, size in [((0, 0), (width + 20, height + 20)), ((-64, 128), (300, 99))]:
                np.testing.assert_array_equal(
                    slide.read_region(location, level, size),
                    expected.read_region(location, level, size),
                )


@pytest.mark.parametrize("colour", ["YBR_FULL_422", "RGB"])
@pytest.mark.parametrize("offsets", ["basic", "none", "extended"])
def test_every_level_of_a_series_is_openslides_to_the_bit(
    tmp_path: Path, colour: str, offsets: Offsets
) -> None:
    path = write_series(tmp_path, colour=colour, offsets=offsets)
    with openslide.OpenSlide(path) as slide:
        assert slide.level_dimensions == SIZES
    assert_openslides(path)


@pytest.mark.parametrize("offsets", ["basic", "none"])
def test_tiles_that_a_sparse_slide_skips_are_white(tmp_path: Path, offsets: Offsets) -> None:
    path = write_series(tmp_path, sparse=True, offsets=offsets)
    assert_openslides(path)
    with open_slide(path) as slide:
        assert (slide.read_region((2 * TILE, 0), 0, (TILE, TILE)) == 255).all()


def test_the_other_levels_belong_to_what_was_read(tmp_path: Path) -> None:
    path = write_series(tmp_path)
    before = look_at_source(path)
    assert before.size == sum((tmp_path / f"{n}.dcm").stat().st_size for n in range(3))
    (tmp_path / "another.txt").write_text("none of it")
    check_unchanged(path, before)
    with (tmp_path / "0.dcm").open("ab") as file:
        file.write(bytes(2))
    with pytest.raises(SourceChangedError):
        check_unchanged(path, before)


def test_what_a_series_is_changes_with_each_of_its_files(tmp_path: Path) -> None:
    path = write_series(tmp_path)
    before = content_digest(path)
    assert stored_bytes(path) == sum((tmp_path / f"{n}.dcm").stat().st_size for n in range(3))
    (tmp_path / "another.txt").write_text("none of it")
    assert content_digest(path) == before
    with (tmp_path / "0.dcm").open("r+b") as file:
        file.seek(-20, 2)
        file.write(bytes(20))
    assert content_digest(path) != before


def test_a_real_slide_too(shared_data: Path) -> None:
    assert_openslides(shared_data / "slides" / "multi_frame_jpeg_camelyon_challenge_image.dcm")


def set_to(**values: Any) -> Callable[[Dataset], None]:
    def change(ds: Dataset) -> None:
        for name, value in values.items():
            setattr(ds, name, value)

    return change


def two_fragments(ds: Dataset) -> None:
    """Split the first frame, and let the table say so."""
    first, *others = tiles_of(specimen_pixels(), "YBR_FULL_422")
    first += bytes(len(first) % 2)
    half = len(first) // 4 * 2
    items = [first[:half], first[half:], *(o + bytes(len(o) % 2) for o in others)]
    starts = np.cumsum([0, *(len(item) + 8 for item in items)])[:-1]
    table = struct.pack(f"<{len(others) + 1}L", 0, *starts[2:].tolist())
    content = b"".join(struct.pack("<HHL", 0xFFFE, 0xE000, len(i)) + i for i in [table, *items])
    ds.PixelData = content


@pytest.mark.parametrize(
    "change",
    [
        set_to(PhotometricInterpretation="YBR_FULL"),
        set_to(NumberOfFrames="40"),
        set_to(TotalPixelMatrixFocalPlanes=2),
        set_to(NumberOfOpticalPaths=2),
        set_to(DimensionOrganizationType="TILED_SPARSE"),
        set_to(ImageType=["DERIVED", "PRIMARY", "LABEL", "NONE"]),
        two_fragments,
    ],
    ids=["colour", "frames", "planes", "paths", "positions", "label", "fragments"],
)
def test_what_is_not_a_plain_grid_of_jpeg_frames_is_left_to_openslide(
    tmp_path: Path, array_slide: Callable[..., Any], change: Callable[[Dataset], None]
) -> None:
    path = tmp_path / "one.dcm"
    write_instance(path, SIZES[0], series=generate_uid(), change=change)
    slide = array_slide(np.zeros((700, 1000, 3), np.uint8))
    slide.vendor = "dicom"
    assert find_tiles(path, slide) is None
    write_instance(path, SIZES[0], series=generate_uid())
    assert find_tiles(path, slide) is not None


def test_a_level_whose_instance_is_missing_leaves_the_slide_to_openslide(
    tmp_path: Path, array_slide: Callable[..., Any]
) -> None:
    path = tmp_path / "one.dcm"
    write_instance(path, SIZES[0], series=generate_uid())
    slide = array_slide(np.zeros((700, 1000, 3), np.uint8))
    slide.vendor = "dicom"
    slide.level_dimensions = SIZES[:2]
    assert find_tiles(path, slide) is None


@pytest.mark.parametrize("offsets", ["basic", "none", "extended"])
def test_a_cut_slide_is_refused_or_raises_where_it_was_cut(
    tmp_path: Path, offsets: Offsets
) -> None:
    path = tmp_path / "one.dcm"
    write_instance(path, SIZES[0], series=generate_uid(), offsets=offsets)
    content = path.read_bytes()
    with open_slide(path) as slide:
        whole = slide.read_region((0, 0), 0, SIZES[0])
    outcomes = set()
    for cut in np.linspace(100, len(content) - 20, 40).astype(int):
        path.write_bytes(content[:cut])
        try:
            slide = open_slide(path)
        except SlideError as error:
            outcomes.add(error.kind)
            continue
        with slide:
            for y in range(0, 700, 175):
                try:
                    region = slide.read_region((0, y), 0, (1000, 175))
                except UnreadableRegionError:
                    outcomes.add("unreadable")
                    continue
                np.testing.assert_array_equal(region, whole[y : y + 175])
    assert "unreadable" in outcomes


@pytest.mark.parametrize("beyond_header", range(0, 60, 4))
def test_a_slide_cut_where_its_pixels_begin_is_left_to_openslide(
    tmp_path: Path, array_slide: Callable[..., Any], beyond_header: int
) -> None:
    path = tmp_path / "one.dcm"
    write_instance(path, SIZES[0], series=generate_uid())
    content = path.read_bytes()
    path.write_bytes(content[: content.rindex(b"\xe0\x7f\x10\x00OB") + beyond_header])
    slide = array_slide(np.zeros((700, 1000, 3), np.uint8))
    slide.vendor = "dicom"
    assert find_tiles(path, slide) is None


def test_a_neighbour_that_cannot_be_read_is_none_of_the_slide(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_series(tmp_path)
    open_path = Path.open

    def refuse(file: Path, *args: Any) -> Any:
        if file.name == "notes.txt":
            raise PermissionError(13, "Permission denied", str(file))
        return open_path(file, *args)

    monkeypatch.setattr(Path, "open", refuse)
    assert series_files(path) == [path, tmp_path / "0.dcm", tmp_path / "2.dcm"]
    with pytest.raises(PermissionError):
        series_files(tmp_path / "notes.txt")


def test_sizes_of_the_slides_in_a_folder_take_one_look_at_each_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slides = [write_series(tmp_path), tmp_path / "other.dcm", tmp_path / "missing.dcm"]
    expected = [stored_bytes(path) for path in slides]
    read: list[str] = []

    def look(file: Any, **options: Any) -> Dataset:
        read.append(file.name)
        return dcmread(file, **options)

    monkeypatch.setattr(pydicom, "dcmread", look)
    assert list(stored_sizes(slides)) == expected
    assert len(read) == len(set(read)) > 4


def test_the_helper_writes_what_it_says(tmp_path: Path) -> None:
    path = write_series(tmp_path)
    header = dcmread(path, stop_before_pixels=True)
    assert (header.TotalPixelMatrixColumns, header.TotalPixelMatrixRows) == SIZES[1]
    assert header.file_meta.TransferSyntaxUID == JPEGBaseline8Bit
