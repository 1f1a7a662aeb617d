"""Slides that many tests look at: made once a session and only read."""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import settings

from wsi.slide import Pixels, Slide
from wsi.testing import Specimen, write_locating_slide, write_slide

ROOT = Path(__file__).parents[1]

settings.register_profile("raypath", derandomize=True, deadline=None)
settings.load_profile("raypath")


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeUp:
    """A slide's file and the specimen it shows."""

    path: Path
    specimen: Specimen


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real slides, beside the repository; not part of it."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"the folder of real slides is not there: {folder}")
    return folder


@pytest.fixture(scope="session")
def synthetic(tmp_path_factory: pytest.TempPathFactory) -> MadeUp:
    """A slide of two levels with odd sizes, JPEG tiles of 256 pixels and a pen stroke."""
    specimen = Specimen(seed=5, width=1500, height=1301, pen=True)
    path = tmp_path_factory.mktemp("synthetic") / "synthetic.svs"
    return MadeUp(path=write_slide(path, specimen), specimen=specimen)


@pytest.fixture(scope="session")
def locating_slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A slide of 2304 x 1536 at 0.5 µm whose pixels say where they are; level 1 is 4 x less."""
    path = tmp_path_factory.mktemp("locating") / "locating.svs"
    return write_locating_slide(path, width=2304, height=1536)


@pytest.fixture(scope="session")
def damage_tile(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path, int], Path]:
    """Copy a slide with the bytes of one level-0 tile, counted in reading order, overwritten."""

    def damage(path: Path, index: int) -> Path:
        copy = tmp_path_factory.mktemp("damaged") / path.name
        shutil.copyfile(path, copy)
        with tifffile.TiffFile(path) as tiff:
            offset = tiff.pages[0].dataoffsets[index]
            count = tiff.pages[0].databytecounts[index]
        with copy.open("r+b") as file:
            file.seek(offset)
            file.write(bytes(count))
        return copy

    return damage


class ArraySlide(Slide):
    """A slide of one level that is an array (H, W, 3); remembers the sizes it was asked for."""

    reader, vendor = "array", "made"
    level_downsamples = (1.0,)
    associated_images = ()
    icc_profile = None

    def __init__(self, pixels: Pixels) -> None:
        self.pixels = pixels
        self.level_dimensions = ((pixels.shape[1], pixels.shape[0]),)
        self.properties: Mapping[str, str] = {}
        self.asked: list[tuple[int, int]] = []

    def read_region(self, location: tuple[int, int], level: int, size: tuple[int, int]) -> Pixels:
        assert level == 0
        self.asked.append(size)
        (width, height), (left, top) = size, location
        region = np.full((height, width, 3), 255, np.uint8)
        inside = self.pixels[max(top, 0) : top + height, max(left, 0) : left + width]
        y, x = max(-top, 0), max(-left, 0)
        region[y : y + inside.shape[0], x : x + inside.shape[1]] = inside
        return region

    def read_associated(self, name: str) -> Pixels:
        raise KeyError(name)

    def close(self) -> None:
        pass


@pytest.fixture(scope="session")
def array_slide() -> Callable[[Pixels], ArraySlide]:
    """Make a slide of one level from an array."""
    return ArraySlide
