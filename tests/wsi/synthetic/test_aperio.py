"""Files that OpenSlide takes for Aperio's, with the pixels they were given."""

from pathlib import Path

import numpy as np
import openslide
import pytest
import tifffile
from numpy.typing import NDArray

from wsi.synthetic.aperio import Associated, level_sizes, write_svs
from wsi.synthetic.coder import split_tables

WIDTH, HEIGHT = 1501, 1307


def picture(width: int, height: int) -> NDArray[np.uint8]:
    y, x = np.mgrid[0:height, 0:width]
    waves = [128 + 100 * np.sin(x / 40 + c) * np.cos(y / 53 - c) for c in range(3)]
    return np.stack(waves, axis=-1).astype(np.uint8)


PICTURE = picture(WIDTH, HEIGHT)


def write(path: Path, **options: object) -> Path:
    def read_block(x: int, y: int, width: int, height: int) -> NDArray[np.uint8]:
        return PICTURE[y : y + height, x : x + width]

    given: dict[str, object] = {"width": WIDTH, "height": HEIGHT, "mpp": 0.4991} | options
    return write_svs(path, magnification=20, read_block=read_block, **given)  # type: ignore[arg-type]


def level_pixels(slide: openslide.OpenSlide, level: int) -> NDArray[np.int64]:
    region = slide.read_region((0, 0), level, slide.level_dimensions[level])
    return np.asarray(region)[..., :3].astype(np.int64)


def averaged(pixels: NDArray[np.uint8], by: int) -> NDArray[np.float64]:
    rows, cols = pixels.shape[0] // by, pixels.shape[1] // by
    whole = pixels[: rows * by, : cols * by].astype(float)
    return whole.reshape(rows, by, cols, by, 3).mean(axis=(1, 3))


def test_openslide_takes_it_for_aperio(tmp_path: Path) -> None:
    label, macro = picture(60, 80), picture(300, 100)
    path = write(
        tmp_path / "a.svs",
        associated=Associated(label=label, macro=macro),
        properties={"Date": "01/02/26", "Patient": "DOE, JANE"},
    )
    with openslide.OpenSlide(path) as slide:
        assert slide.properties["openslide.vendor"] == "aperio"
        assert float(slide.properties["openslide.mpp-x"]) == 0.4991
        assert float(slide.properties["openslide.mpp-y"]) == 0.4991
        assert slide.properties["openslide.objective-power"] == "20"
        assert slide.properties["aperio.Patient"] == "DOE, JANE"
        assert slide.level_dimensions == ((1501, 1307), (375, 326))
        assert set(slide.associated_images) == {"label", "macro", "thumbnail"}
        assert slide.associated_images["label"].size == (60, 80)
        shown = np.asarray(slide.associated_images["macro"])[..., :3].astype(int)
        assert np.abs(shown - macro).mean() < 4


@pytest.mark.parametrize("colour", ["ycbcr", "rgb"])
def test_levels_show_what_was_given(tmp_path: Path, colour: str) -> None:
    with openslide.OpenSlide(write(tmp_path / "a.svs", quality=90, colour=colour)) as slide:
        assert np.abs(level_pixels(slide, 0) - PICTURE).mean() < 2
        assert np.abs(level_pixels(slide, 1) - averaged(PICTURE, 4)).mean() < 2


def test_lossless_levels_are_exact_means_of_the_finest(tmp_path: Path) -> None:
    tall = np.concatenate([PICTURE] * 4)  # three levels, and strips that do not come out even

    def read_block(x: int, y: int, width: int, height: int) -> NDArray[np.uint8]:
        return tall[y : y + height, x : x + width]

    path = write_svs(
        tmp_path / "a.svs",
        width=WIDTH,
        height=len(tall),
        mpp=0.5,
        magnification=20,
        read_block=read_block,
        lossless=True,
    )
    with openslide.OpenSlide(path) as slide:
        assert slide.level_dimensions == ((1501, 5228), (375, 1307), (93, 326))
        for level in range(3):
            means = averaged(tall, 4**level)
            np.testing.assert_array_equal(level_pixels(slide, level), np.floor(means + 0.5))


def test_every_pixel_is_asked_for_once_and_a_strip_at_a_time(tmp_path: Path) -> None:
    asked = np.zeros((HEIGHT, WIDTH), int)

    def read_block(x: int, y: int, width: int, height: int) -> NDArray[np.uint8]:
        asked[y : y + height, x : x + width] += 1
        assert width <= 1024
        assert height <= 1024
        return PICTURE[y : y + height, x : x + width]

    write_svs(
        tmp_path / "a.svs",
        width=WIDTH,
        height=HEIGHT,
        mpp=0.5,
        magnification=20,
        read_block=read_block,
    )
    assert (asked == 1).all()


def test_equal_input_gives_equal_bytes(tmp_path: Path) -> None:
    options = {"associated": Associated(label=picture(60, 80), macro=picture(90, 40))}
    first, second = (write(tmp_path / name, **options) for name in ("a.svs", "b.svs"))
    assert first.read_bytes() == second.read_bytes()


def test_a_failure_leaves_no_file(tmp_path: Path) -> None:
    def read_block(x: int, y: int, width: int, height: int) -> NDArray[np.uint8]:
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        write_svs(
            tmp_path / "a.svs",
            width=10,
            height=10,
            mpp=0.5,
            magnification=20,
            read_block=read_block,
        )
    assert list(tmp_path.iterdir()) == []


def test_tiles_share_their_tables(tmp_path: Path) -> None:
    path = write(tmp_path / "a.svs")
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages[0]
        tables = page.tags["JPEGTables"].value
        assert tables[:4] == b"\xff\xd8\xff\xdb"
        with path.open("rb") as file:
            file.seek(page.dataoffsets[0])
            tile = file.read(page.databytecounts[0])
        assert b"\xff\xdb" not in tile
        again = split_tables(tables[:-2] + tile[2:])
        assert again == (tables, tile)
        assert np.abs(page.asarray().astype(int) - PICTURE).mean() < 4


def test_levels_stop_when_small() -> None:
    assert level_sizes(1024, 1000) == ((1024, 1000),)
    assert level_sizes(20_000, 18_001) == (
        (20_000, 18_001),
        (5_000, 4_500),
        (1_250, 1_125),
        (312, 281),
    )
