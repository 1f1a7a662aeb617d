"""Heatmaps and pyramids lie where the slide is, whatever its format, levels, grid and bounds."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import shapely
import tifffile
from numpy.typing import NDArray
from PIL import Image
from pydicom.uid import generate_uid
from scipy import ndimage

from pipelines.conversion.driver import convert_slide
from pipelines.demo.alignment import measure_alignment, measure_errors
from pipelines.runfolder import TILES_NAME, TISSUE_NAME
from tests.wsi.jpeg.test_dicom import write_instance
from wsi.open import open_slide
from wsi.plan import TileSpec
from wsi.ref import SlideRef
from wsi.slide import Pixels
from wsi.synthetic.aperio import write_svs
from wsi.tilestore import read_tiles

SIZE = (2048, 1024)  # steps of the ramp are 8 and 4 pixels: levels down to 4 are exact
MPP = 0.5
TILE_PX = 64
FULL, HALF, ODD = None, TILE_PX // 2, 37  # strides
SCANNED = (256, 128, 1792, 896)  # left, top, right, bottom on the slide that has bounds
MARGIN = 8  # level-0 pixels that the resampling filter sees beyond a tile, and more
GROWTH = 1.0  # level-0 pixels; coordinates are rounded, and so are the ramp's greys

Write = Callable[[Path], Path]


def ramp(size: tuple[int, int] = SIZE) -> Pixels:
    """What `write_locating_slide` shows, (H, W, 3)."""
    width, height = size
    pixels = np.full((height, width, 3), 128, np.uint8)
    pixels[..., 0] = (np.arange(width) * 256 // width)[None, :]
    pixels[..., 1] = (np.arange(height) * 256 // height)[:, None]
    return pixels


def reduced(pixels: Pixels, factor: int) -> Pixels:
    """Rounded means of squares; what does not fill one is left out."""
    height, width = (n // factor for n in pixels.shape[:2])
    squares = pixels[: height * factor, : width * factor].reshape(height, factor, width, factor, 3)
    return np.rint(squares.mean(axis=(1, 3))).astype(np.uint8)


def write_ramp_svs(path: Path, *, size: tuple[int, int] = SIZE, lossless: bool = False) -> Path:
    """Aperio's, levels 4 apart, one level up to 1024 pixels; JPEG unless `lossless`."""
    pixels = ramp(size)
    return write_svs(
        path,
        width=size[0],
        height=size[1],
        mpp=MPP,
        magnification=20,
        read_block=lambda x, y, width, height: pixels[y : y + height, x : x + width],
        quality=95,
        colour="rgb",
        lossless=lossless,
    )


def svs(folder: Path) -> Path:
    return write_ramp_svs(folder / "jpeg.svs")


def one_level(folder: Path) -> Path:
    return write_ramp_svs(folder / "flat.svs", size=(1024, 1024), lossless=True)


def tiff(folder: Path) -> Path:
    """A generic pyramidal TIFF, levels 2 apart."""
    path = folder / "generic.tif"
    write_levels(path, [ramp(), reduced(ramp(), 2), reduced(ramp(), 4)])
    return path


def ome_zarr(folder: Path) -> Path:
    """What `raypath convert` makes of the SVS."""
    path = folder / "converted.ome.zarr"
    assert convert_slide(SlideRef.of(svs(folder)), path).verdict == "ok"
    return path


def dicom(folder: Path) -> Path:
    """A series of two instances, levels 2 apart."""
    series, (width, height) = generate_uid(), SIZE
    for number in (0, 1):
        size = (width >> number, height >> number)
        write_instance(folder / f"{number}.dcm", size, series=series, colour="RGB", level0=ramp())
    return folder / "0.dcm"


def scn(folder: Path) -> Path:
    """A Leica slide, levels 4 apart, of which an area in the middle was scanned."""
    path, (left, top, right, bottom) = folder / "cropped.scn", SCANNED
    area = ramp()[top:bottom, left:right]
    levels = [area, reduced(area, 4)]
    macro = reduced(ramp(), 16)
    nm = round(MPP * 1000)
    whole, scanned = (
        f'<view sizeX="{w * nm}" sizeY="{h * nm}" offsetX="{x * nm}" offsetY="{y * nm}"/>'
        for w, h, x, y in ((*SIZE, 0, 0), (right - left, bottom - top, left, top))
    )
    images = "".join(
        '<image><device model="made" version="1"/><pixels>'
        + "".join(
            f'<dimension sizeX="{p.shape[1]}" sizeY="{p.shape[0]}" r="{r}" ifd="{first + r}"/>'
            for r, p in enumerate(pages)
        )
        + f"</pixels>{view}<scanSettings><objectiveSettings><objective>20</objective>"
        "</objectiveSettings><illuminationSettings><illuminationSource>brightfield"
        "</illuminationSource></illuminationSettings></scanSettings></image>"
        for first, pages, view in ((0, [macro], whole), (1, levels, scanned))
    )
    about = (
        '<scn xmlns="http://www.leica-microsystems.com/scn/2010/10/01">'
        f'<collection sizeX="{SIZE[0] * nm}" sizeY="{SIZE[1] * nm}">{images}</collection></scn>'
    )
    write_levels(path, [macro, *levels], about=about)
    return path


def write_levels(path: Path, levels: list[Pixels], *, about: str | None = None) -> None:
    """Write tiled pages, lossless; `about` is the first one's description."""
    with tifffile.TiffWriter(path, bigtiff=True) as file:
        for number, pixels in enumerate(levels):
            file.write(
                pixels,
                tile=(256, 256),
                photometric="rgb",
                compression="zlib",
                subfiletype=int(number > 0),
                resolution=(10_000 / MPP, 10_000 / MPP),
                resolutionunit="CENTIMETER",
                description=about if number == 0 else None,
                metadata=None,
                software=False,
            )


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Write], Path]:
    """Write a slide once a session."""
    slides: dict[Write, Path] = {}

    def write(how: Write) -> Path:
        if how not in slides:
            slides[how] = how(tmp_path_factory.mktemp(how.__name__))
        return slides[how]

    return write


def inner_mask(folder: Path, slide: Path) -> Path:
    """What was scanned, but for a margin: the filter at a slide's edge sees glass beyond it."""
    with open_slide(slide) as opened:
        width, height = opened.dimensions
        bounds = SCANNED if opened.vendor == "leica" else (0, 0, width, height)
    left, top, right, bottom = bounds
    mask = Image.new("L", (width, height), 0)
    mask.paste(255, (left + MARGIN, top + MARGIN, right - MARGIN, bottom - MARGIN))
    mask.save(folder / "mask.png")
    return folder / "mask.png"


def surrounded(errors: NDArray[np.float64]) -> NDArray[np.float64]:
    """The cells (2, H, W) that have neighbours with a value, cropped to where they are.

    Overlapping tiles lie about a cell on all sides there; at the border on one side only.
    """
    has_value = np.isfinite(errors).all(axis=0)
    inner = ndimage.binary_erosion(has_value, np.ones((3, 3)))
    rows, columns = (np.nonzero(inner.any(axis=axis))[0] for axis in (1, 0))
    kept = np.where(inner, errors, np.nan)
    return kept[:, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def ends(errors: NDArray[np.float64], axis: int) -> tuple[NDArray[np.float64], ...]:
    """The errors along x (0) or y (1) in its first and its last quarter."""
    along = errors[0].T if axis == 0 else errors[1]
    quarter = len(along) // 4
    return along[:quarter], along[-quarter:]


def shift_between_ends(errors: NDArray[np.float64]) -> float:
    """How much more the far end lies off than the near one, along the worse axis."""
    means = [[np.nanmean(end) for end in ends(errors, axis)] for axis in (0, 1)]
    return max(abs(float(far - near)) for near, far in means)


@pytest.mark.parametrize(
    ("write", "mpp", "stride_px"),
    [
        (svs, 0.5, FULL),
        (svs, 2.0, HALF),  # the second level
        (svs, 0.7, ODD),
        (one_level, 0.7, FULL),
        (one_level, 1.0, ODD),
        (tiff, 0.5, ODD),
        (tiff, 1.0, FULL),  # the second level
        (tiff, 0.7, HALF),
        (ome_zarr, 0.5, HALF),
        (ome_zarr, 0.7, FULL),
        (dicom, 0.5, HALF),
        (dicom, 0.7, ODD),
        (scn, 0.5, FULL),
        (scn, 0.7, HALF),
    ],
)
def test_heatmap_and_pyramid_lie_where_the_slide_is(
    tmp_path: Path,
    written: Callable[[Write], Path],
    write: Write,
    mpp: float,
    stride_px: int | None,
) -> None:
    slide = written(write)
    spec = TileSpec(size_px=TILE_PX, mpp=mpp)
    errors = measure_errors(
        tmp_path, slide=slide, spec=spec, stride_px=stride_px, mask=inner_mask(tmp_path, slide)
    )
    stride = (stride_px or TILE_PX) * mpp / MPP
    heatmap = surrounded(errors.heatmap)
    assert np.nanmax(np.abs(heatmap)) <= stride / 2
    assert shift_between_ends(heatmap) <= GROWTH
    for axis in (0, 1):
        near, far = (np.nanmax(np.abs(end)) for end in ends(heatmap, axis))
        assert far <= near + GROWTH
    # At the border a cell's value is that of tiles on one side, which hold the cell's centre.
    assert np.nanmax(np.abs(errors.heatmap)) <= TILE_PX * mpp / MPP / 2 + GROWTH
    rounding = 1.0 if write is dicom else 0.1  # its JPEG is off by a part of a grey
    for level in errors.image:
        assert np.abs(np.nanmean(level, axis=(1, 2))).max() <= rounding
        assert shift_between_ends(level) <= GROWTH


def test_files_for_qupath_count_from_the_scanned_areas_corner(
    tmp_path: Path, written: Callable[[Write], Path]
) -> None:
    slide, spec = written(scn), TileSpec(size_px=TILE_PX, mpp=MPP)
    measure_errors(tmp_path, slide=slide, spec=spec, mask=inner_mask(tmp_path, slide))
    left, top, right, bottom = SCANNED
    tiles = read_tiles(tmp_path / "slide" / TILES_NAME)
    assert (tiles.attributes["bounds_x"], tiles.attributes["bounds_y"]) == (left, top)
    assert tiles.coords.min(axis=0).tolist() == [left + TILE_PX, top + TILE_PX]  # whole frame
    outline = shapely.from_geojson((tmp_path / "slide" / TISSUE_NAME).read_text())
    end = (right - left - MARGIN, bottom - top - MARGIN)
    assert outline.bounds == pytest.approx((MARGIN, MARGIN, *end), abs=1)


def test_what_the_demo_shows_is_the_largest_error(
    tmp_path: Path, written: Callable[[Write], Path]
) -> None:
    slide, spec = written(one_level), TileSpec(size_px=TILE_PX, mpp=MPP)
    alignment = measure_alignment(tmp_path, slide=slide, spec=spec)
    assert 0 <= alignment.heatmap_px < 0.01
    assert alignment.image_px < 0.01
