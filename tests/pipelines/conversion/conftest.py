"""Slides to convert, and ways to do it."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines.conversion.driver import convert_slide
from pipelines.conversion.record import ConvertRecord
from wsi.pyramid.options import PyramidOptions
from wsi.ref import SlideRef
from wsi.synthetic.aperio import Associated, write_svs

PATTERN = np.random.default_rng(7).integers(60, 240, (1024, 1024, 3), dtype=np.uint8)


def write_pattern(path: Path, *, width: int, height: int, **extra: Any) -> Path:
    """A slide with levels 1, 4, … whose content costs nothing to make."""
    smooth = np.repeat(np.repeat(PATTERN[::16, ::16], 16, axis=0), 16, axis=1)

    def read_block(x: int, y: int, w: int, h: int) -> Any:
        rows, columns = np.arange(y, y + h) % 1024, np.arange(x, x + w) % 1024
        return smooth[rows[:, None], columns]

    return write_svs(
        path,
        width=width,
        height=height,
        mpp=0.25,
        magnification=40,
        read_block=read_block,
        **extra,
    )


@pytest.fixture(scope="session")
def slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three by two shards of copied tiles at level 0, six by five blocks when decoded."""
    return write_pattern(
        tmp_path_factory.mktemp("slides") / "slide.svs", width=17_000, height=9_000
    )


@pytest.fixture(scope="session")
def small_slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    label = np.full((40, 60, 3), 200, np.uint8)
    return write_pattern(
        tmp_path_factory.mktemp("small") / "small.svs",
        width=2500,
        height=1900,
        associated=Associated(label=label),
        properties={"User": "Dr Who", "Filename": "S26-1 Smith", "Date": "01/02/26"},
    )


@pytest.fixture(scope="session", name="tree")
def read_tree() -> Callable[[Path], dict[str, bytes]]:
    """Every file below a folder."""
    return _tree


def _tree(folder: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file()
    }


@pytest.fixture(scope="session", name="convert")
def convert_as() -> Callable[..., ConvertRecord]:
    """Convert a slide to a path with any of `PyramidOptions`."""
    return _convert


def _convert(slide: Path, path: Path, **options: Any) -> ConvertRecord:
    return convert_slide(SlideRef.of(slide), path, options=PyramidOptions(**options), threads=2)


@pytest.fixture(scope="session", name="command")
def convert_command() -> Callable[..., list[str]]:
    """The command that converts a slide into a folder, with flags."""
    return _command


def _command(slide: Path, out: Path, *flags: str) -> list[str]:
    raypath = Path(sys.executable).with_name("raypath")
    return [str(raypath), "convert", str(slide), "-o", str(out), *flags]
