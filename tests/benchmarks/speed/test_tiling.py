"""Every benchmark runs; what it measures is not asserted."""

import importlib.util
import json
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import openslide
import pytest
import zarr
from typer.testing import CliRunner

from benchmarks.speed import converting, ours, reading
from benchmarks.speed.decoding import BINDINGS
from benchmarks.speed.measure import BenchmarkError
from benchmarks.speed.tiling import TilingSettings, measure_tiling
from pipelines.cli.main import cli
from wsi.synthetic.aperio import write_svs
from wsi.testing import Specimen, write_locating_slide, write_slide


@pytest.fixture(scope="session")
def slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("benchmarks") / "slide.svs"
    return write_slide(path, Specimen(seed=1, width=1500, height=1400))


def test_startup_prints_its_table() -> None:
    command = [sys.executable, "-m", "benchmarks.startup", "--runs", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "raypath run --help" in done.stdout


@pytest.mark.slow
def test_tiling_of_a_made_up_slide(tmp_path: Path) -> None:
    arguments = ["benchmark", "tiling", "--no-peers", "--runs", "1", "--threads", "1", "--json"]
    arguments += ["--gigapixels", "0.001", "--tiles", "3", "--folder", str(tmp_path)]
    done = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    facts: dict[str, Any] = json.loads(done.stdout)
    convert, native, coarser = facts["tables"]
    assert {r["name"] for r in convert["results"] if r["role"] == "ours"} == {
        "raypath convert",
        "raypath convert, as a command",
        "raypath convert --codec zstd",
    }
    assert native["title"] == "Tiles at 0.5 µm/px: 3 of 224 px"
    assert coarser["title"].startswith("Tiles at 1 µm/px")
    measured = [r for table in facts["tables"] for r in table["results"] if r["role"] == "ours"]
    assert all(len(r["seconds"]) == 1 and r["peak_bytes"] > 0 for r in measured)
    assert all(r["bytes_out"] > 0 for r in convert["results"] if r["role"] == "ours")
    assert len(facts["verdicts"]) == 7
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("peer", "modules"),
    [
        (partial(converting._wsidicomizer, threads=1), ["wsidicomizer"]),
        (converting._vips, ["pyvips"]),
        (partial(converting._dask, threads=1), ["dask.array"]),
    ],
    ids=["wsidicomizer", "vips", "dask"],
)
def test_a_peer_converts(slide: Path, tmp_path: Path, peer: Any, modules: list[str]) -> None:
    for module in modules:
        pytest.importorskip(module, reason=f"{module} is not installed")
    work = peer(slide, scratch=tmp_path)
    try:
        work()
    except FileNotFoundError as error:
        if "turbojpeg" not in str(error):
            raise
        pytest.skip("wsidicomizer needs the system's libturbojpeg")
    assert sum(f.stat().st_size for f in tmp_path.rglob("*") if f.is_file()) > 100_000


def test_dask_stores_the_slides_own_pixels(slide: Path, tmp_path: Path) -> None:
    pytest.importorskip("dask.array", reason="dask is not installed")
    converting._dask(slide, 1, tmp_path)()
    stored = zarr.open_array(tmp_path / "slide.zarr" / "0", mode="r")
    with openslide.OpenSlide(slide) as opened:
        region = opened.read_region((200, 300), 0, (500, 400)).convert("RGB")
    assert np.abs(np.asarray(stored[300:700, 200:700], int) - np.asarray(region)).mean() < 1


def test_readers_read(slide: Path, tmp_path: Path) -> None:
    grid = ours.lay_grid(slide, size_px=224, mpp_factor=1, most=4)
    ours.convert(slide, "auto", tmp_path)()
    (pyramid,) = tmp_path.iterdir()
    found = reading.readers(slide, grid, threads=2, peers=True, pyramid=pyramid)
    for contender in found:
        binding = next((name for name in BINDINGS if name in contender.name), None)
        if binding is None or importlib.util.find_spec(binding):
            contender.prepare(tmp_path)()
    assert [c.name for c in found if c.role == "peer"] == [
        "openslide in a loop",
        "openslide, 2 threads",
        "tiffslide in a loop",
    ]


def test_the_decoder_gets_each_jpeg_tile_under_the_grid_once(slide: Path) -> None:
    grid = ours.lay_grid(slide, size_px=256, mpp_factor=1, most=1)
    x, y = grid.coords[0].tolist()  # tiles lie where the file's own do
    assert (x % 256, y % 256) == (0, 0)
    assert len(ours.jpeg_streams(slide, grid)) == 1
    pair = ours.lay_grid(slide, size_px=128, mpp_factor=1, most=2)
    assert len(ours.jpeg_streams(slide, pair)) in (1, 2)
    assert len(ours.jpeg_streams(slide)) == 6 * 6


@pytest.mark.parametrize("binding", BINDINGS)
@pytest.mark.parametrize("colour", ["rgb", "ycbcr"])
def test_the_decoder_shows_the_slide(binding: str, colour: Any, tmp_path: Path) -> None:
    pytest.importorskip(binding, reason=f"{binding} is not installed")
    x = np.linspace(0, 255, 256, dtype=np.uint8)
    tile = np.stack(np.broadcast_arrays(x[:, None], x[None, :], x[::-1, None]), axis=-1)
    path = write_svs(
        tmp_path / "ramp.svs",
        width=256,
        height=256,
        mpp=0.5,
        magnification=20,
        read_block=lambda x, y, width, height: tile,
        colour=colour,
    )
    (stream,) = ours.jpeg_streams(path)
    assert np.abs(np.asarray(BINDINGS[binding]()(stream), int) - tile).mean() < 3


def test_decoding_can_be_left_out(slide: Path) -> None:
    def names(decode: bool) -> set[str]:
        found = converting.converters(slide, threads=1, decode=decode, peers=False)
        return {contender.name for contender in found}

    assert names(True) - names(False) == {"raypath convert --codec zstd"}


def test_what_cannot_be_measured_is_said(tmp_path: Path) -> None:
    lossless = write_locating_slide(tmp_path / "locating.svs", width=1024, height=1024)
    with pytest.raises(BenchmarkError, match="no JPEG tiles"):
        ours.jpeg_streams(lossless)
    blank = tmp_path / "blank.svs"
    write_slide(blank, Specimen(seed=1, width=64, height=64))
    settings = TilingSettings(threads=1, runs=1, peers=False)
    with pytest.raises(BenchmarkError, match="no tissue found"):
        measure_tiling(blank, settings, say=lambda line: None)
