"""A mosaic of real pixels is a slide like a scanner's."""

from pathlib import Path

import numpy as np
import openslide
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from benchmarks.slides import (
    CELL_PX,
    SCANNED,
    MissingDataError,
    Mosaic,
    Pieces,
    load_pieces,
    main,
    write_mosaic,
)


@pytest.fixture(scope="session")
def pieces(shared_data: Path) -> Pieces:
    return load_pieces(shared_data)


@pytest.fixture(scope="session")
def mosaic(pieces: Pieces, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("mosaic") / "mosaic.svs"
    return write_mosaic(path, gigapixels=0.02, pieces=pieces, seed=3)


def made_pieces() -> Pieces:
    random = np.random.default_rng(0)
    tissue = random.integers(0, 200, (600, 700, 3)).astype(np.uint8)
    return Pieces(tissue=(tissue,), background=(np.full((128, 128, 3), 240, np.uint8),))


def test_openslide_reads_it_as_aperio(mosaic: Path) -> None:
    with openslide.OpenSlide(mosaic) as slide:
        width, height = slide.dimensions
        assert slide.properties["openslide.vendor"] == "aperio"
        assert float(slide.properties["openslide.mpp-x"]) == 0.25
        assert slide.properties["openslide.objective-power"] == "40"
        assert width * height == pytest.approx(20e6, rel=0.001)
        assert slide.level_count == 3


def test_levels_show_the_same(mosaic: Path) -> None:
    with openslide.OpenSlide(mosaic) as slide:
        width, height = slide.level_dimensions[2]

        def reduced(level: int) -> NDArray[np.float64]:
            side = 4 ** (2 - level)
            region = slide.read_region((0, 0), level, (width * side, height * side))
            small = region.convert("RGB").resize((width, height), Image.Resampling.BOX)
            return np.asarray(small, np.float64)

        for level in (0, 1):
            difference = reduced(level) - reduced(2)
            assert abs(difference.mean()) < 0.5
            for axis in (0, 1):  # what JPEG loses here is less than a pixel's step would change
                moved = np.roll(reduced(level), 1, axis) - reduced(2)
                assert np.abs(difference).mean() < 0.65 * np.abs(moved).mean()


def test_it_is_coded_as_the_scanned_slide(mosaic: Path, shared_data: Path) -> None:
    with tifffile.TiffFile(shared_data / SCANNED) as scanned, tifffile.TiffFile(mosaic) as made:
        assert made.pages[0].jpegtables == scanned.pages[0].jpegtables
        counts = made.pages[0].databytecounts
        tiles = {made.filehandle.read_array("u1", n, offset=o).tobytes() for o, n in _places(made)}
        assert len(tiles) == len(counts)  # no two alike, so no cache is flattered


def _places(tiff: tifffile.TiffFile) -> list[tuple[int, int]]:
    page = tiff.pages[0]
    return list(zip(page.dataoffsets, page.databytecounts, strict=True))


@pytest.mark.parametrize("share", [0.2, 0.5])
def test_as_much_tissue_as_asked(share: float) -> None:
    mosaic = Mosaic(made_pieces(), 10_000, 8_000, tissue_share=share)
    assert mosaic.is_tissue.mean() == pytest.approx(share, abs=0.02)


def test_blocks_join_whatever_their_size() -> None:
    mosaic = Mosaic(made_pieces(), 3000, 2000, seed=1)
    whole = mosaic.read_block(0, 0, 3000, 2000)
    assert np.array_equal(mosaic.read_block(700, 300, 1111, 777), whole[300:1077, 700:1811])
    row, column = np.argwhere(mosaic.is_tissue)[0]
    cell = whole[row * CELL_PX : (row + 1) * CELL_PX, column * CELL_PX : (column + 1) * CELL_PX]
    assert cell.mean() < 150
    assert (whole == 240).all(2).mean() > 0.5


def test_a_folder_without_pixels_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match=r"name the folder of real pixels with --data"):
        load_pieces(tmp_path)
    with pytest.raises(SystemExit, match=str(tmp_path)):
        main([str(tmp_path / "out.svs"), "--data", str(tmp_path)])
    assert list(tmp_path.iterdir()) == []
