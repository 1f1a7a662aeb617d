"""A run's folder to look at: made images and heatmaps, one slide of each verdict and more."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from playwright.sync_api import sync_playwright

from pipelines.heatmaps.channels import ATTENTION_PERCENTILE, score_channel
from pipelines.heatmaps.looked import LOOKED, NO_TILE
from pipelines.heatmaps.ome_zarr import Heatmap, write_heatmap
from pipelines.records import SlideRecord, write_records
from wsi.jpeg.find import find_tiles
from wsi.jpeg.tiles import JpegTiles
from wsi.open import open_slide
from wsi.pyramid.write import write_pyramid
from wsi.resolution import MppSource, Resolution
from wsi.slide import Pixels, Slide
from wsi.synthetic.aperio import write_svs
from wsi.tissue import Tissue

MPP = 0.5
CELL = 100.0  # level-0 pixels; no divisor of the slides' sizes
BLURRED = 5  # the label of a cell
FIDUCIAL = (4, 6)  # row and column of the only hot cell of slide `positive`
POSITIVE = "positive"
NEGATIVE = "négative (2) ø"
PARTIAL = "partial"
CHROMIUM = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
FAILED = "failed <script>alert(1)</script> #2?"


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeSlide:
    """Pixels (H, W, 3), the tissue in them and the heatmap over them."""

    pixels: Pixels
    tissue: Tissue
    heatmap: Heatmap


def make_slide(
    width: int, height: int, *, hot: bool, fiducial: tuple[int, int] = FIDUCIAL
) -> MadeSlide:
    """Draw pink tissue on glass, with a near-black square where the fiducial cell is.

    The model did not look at the cell to the right of that one: it is said to be blurred.
    """
    y, x = np.mgrid[0:height, 0:width]
    inside = np.hypot((x - width / 2) / width, (y - height / 2) / height) < 0.42
    pixels = np.where(inside[..., None], (214, 140, 180), (242, 242, 244)).astype(np.uint8)
    pixels[..., 2] -= ((x // 16 + y // 16) % 2 * 12).astype(np.uint8)
    row, column = fiducial
    top, left = int(row * CELL), int(column * CELL)
    pixels[top : top + int(CELL), left : left + int(CELL)] = (20, 20, 24)
    rows, columns = int(np.ceil(height / CELL)), int(np.ceil(width / CELL))
    odds = np.full((rows, columns), np.nan, np.float32)
    centre = (np.indices((rows, columns)) + 0.5) * CELL
    nearest = centre.astype(int).clip(0, np.array([height - 1, width - 1])[:, None, None])
    is_tissue = inside[nearest[0], nearest[1]]
    odds[is_tissue] = -6.0
    if hot:
        odds[fiducial] = 6.0
    blurred = (row, column + 1)
    odds[blurred] = np.nan
    looked = np.where(np.isnan(odds), NO_TILE, LOOKED).astype(np.uint8)
    looked[blurred] = BLURRED
    rank = np.where(np.isnan(odds), np.nan, np.linspace(0, 100, odds.size).reshape(odds.shape))
    heatmap = Heatmap(
        values=np.stack([odds, rank]).astype(np.float32),
        channels=(score_channel("tumour"), ATTENTION_PERCENTILE),
        cell_level0_px=CELL,
        dimensions=(width, height),
        level0_mpp=MPP,
        looked=looked,
    )
    tissue = Tissue(mask=inside[::16, ::16], downsample=16.0)
    return MadeSlide(pixels=pixels, tissue=tissue, heatmap=heatmap)


def write_slide_folder(
    folder: Path,
    made: MadeSlide,
    slide: Slide,
    *,
    prediction: str,
    score: float,
    tiles: JpegTiles | None = None,
) -> None:
    """Write what a run leaves in a slide's folder and the viewer reads.

    `slide` has the pixels of `made`; with its `tiles` the pyramid keeps its JPEG and its levels.
    """
    folder.mkdir(parents=True)
    resolution = Resolution(mpp=MPP, source=MppSource.VENDOR)
    write_pyramid(
        slide,
        folder / "image.ome.zarr",
        name=folder.name,
        resolution=resolution,
        tissue=made.tissue,
        tiles=tiles,
    )
    write_heatmap(folder / "heatmap.ome.zarr", made.heatmap, name=folder.name)
    said: dict[str, Any] = {
        "slide_id": folder.name,
        "prediction": prediction,
        "positive": "tumour",
        "scores": {"normal": 1 - score, "tumour": score},
        "threshold": 0.4,
        "calibrated": False,
        "n_tiles": int(np.isfinite(made.heatmap.values[0]).sum()),
    }
    (folder / "prediction.json").write_text(json.dumps(said))


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeRun:
    """A run's folder, what was drawn into it, and the ids of its slides by what they are for."""

    path: Path
    slides: Mapping[str, MadeSlide]
    positive: str = POSITIVE
    negative: str = NEGATIVE
    partial: str = PARTIAL
    failed: str = FAILED
    fiducial: tuple[int, int] = FIDUCIAL


def _record(slide_id: str, made: MadeSlide, **fields: Any) -> SlideRecord:
    height, width = made.pixels.shape[:2]
    known: dict[str, Any] = {
        "path": f"/slides/{slide_id}.svs",
        "verdict": "ok",
        "vendor": "made",
        "width": width,
        "height": height,
        "mpp": MPP,
        "mpp_source": "vendor property",
        "tissue_mm2": 1.25,
        "n_tiles": 60,
        "seconds": {"look": 0.1, "pyramid": 0.25},
    }
    return SlideRecord(slide_id=slide_id, **(known | fields))


@pytest.fixture(scope="session")
def copied_run(tmp_path_factory: pytest.TempPathFactory) -> MadeRun:
    """A run of one slide whose pyramid keeps the scanner's tiles and its levels, a factor 4 apart.

    The fiducial is far from the corner, where an error of scale would show.
    """
    out = tmp_path_factory.mktemp("copied")
    fiducial = (26, 29)
    made = make_slide(4801, 4203, hot=True, fiducial=fiducial)
    source = write_svs(
        tmp_path_factory.mktemp("svs") / "slide.svs",
        width=4801,
        height=4203,
        mpp=MPP,
        magnification=20,
        read_block=lambda x, y, w, h: made.pixels[y : y + h, x : x + w],
        quality=95,
    )
    folder = out / "slides" / POSITIVE
    with open_slide(source) as slide:
        tiles = find_tiles(source, slide)
        assert tiles is not None
        write_slide_folder(folder, made, slide, prediction="tumour", score=0.9, tiles=tiles)
    write_records(out / "slides.parquet", [_record(POSITIVE, made, prediction="tumour", score=0.9)])
    return MadeRun(path=out, slides={POSITIVE: made}, fiducial=fiducial)


@pytest.fixture(scope="session")
def made_run(
    tmp_path_factory: pytest.TempPathFactory, array_slide: Callable[[Pixels], Slide]
) -> MadeRun:
    """A finished run of four slides; read only."""
    out = tmp_path_factory.mktemp("run")
    slides = {
        POSITIVE: make_slide(1301, 1107, hot=True),
        NEGATIVE: make_slide(1024, 1301, hot=False),
        PARTIAL: make_slide(1200, 1000, hot=True),
    }
    says = {POSITIVE: ("tumour", 0.91), NEGATIVE: ("normal", 0.07), PARTIAL: ("tumour", 0.55)}
    for slide_id, made in slides.items():
        prediction, score = says[slide_id]
        slide, folder = array_slide(made.pixels), out / "slides" / slide_id
        write_slide_folder(folder, made, slide, prediction=prediction, score=score)
    zarr.open_array(out / "slides" / PARTIAL / "image.ome.zarr" / "validity" / "0")[1, 2] = False
    records = [
        _record(slide_id, made, prediction=says[slide_id][0], score=says[slide_id][1])
        for slide_id, made in slides.items()
        if slide_id != PARTIAL
    ]
    records.append(
        _record(
            PARTIAL,
            slides[PARTIAL],
            verdict="partial",
            reason="unreadable_tiles",
            message="3 of 60 tiles did not decode",
            n_invalid_tiles=3,
            prediction="tumour",
            score=float("nan"),
            flags=("pen_marks",),
        )
    )
    records.append(
        SlideRecord(
            slide_id=FAILED,
            path="/slides/none.svs",
            verdict="failed",
            reason="no_mpp",
            message="nothing says how large a pixel is: <b>give µm per pixel with --mpp</b>",
        )
    )
    write_records(out / "slides.parquet", records)
    info = {
        "raypath_version": "0.1.0",
        "started": "2026-01-02T03:04:05+00:00",
        "finished": "2026-01-02T03:05:25+00:00",
        "config": {"stride_px": None, "batch_size": 32},
        "model": {"identifier": "tiny-rckd", "training_data": "made-up cohort", "licence": "CC0"},
        "counts": {"ok": 2, "partial": 1, "failed": 1},
        "versions": {"python": "3.11", "zarr": "3.1"},
        "machine": {"cpus": 2},
    }
    (out / "run.json").write_text(json.dumps(info))
    return MadeRun(path=out, slides=slides)


@pytest.fixture(scope="session")
def attention_run(
    tmp_path_factory: pytest.TempPathFactory, array_slide: Callable[[Pixels], Slide]
) -> MadeRun:
    """A run of a positive and a negative slide whose heatmaps hold attention only; read only."""
    out = tmp_path_factory.mktemp("attention")
    says = {POSITIVE: ("tumour", 0.91), NEGATIVE: ("normal", 0.07)}
    slides, records = {}, []
    for slide_id, (prediction, score) in says.items():
        made = make_slide(900, 700, hot=True)
        heatmap = replace(
            made.heatmap, values=made.heatmap.values[1:], channels=made.heatmap.channels[1:]
        )
        slides[slide_id] = made = replace(made, heatmap=heatmap)
        folder = out / "slides" / slide_id
        slide = array_slide(made.pixels)
        write_slide_folder(folder, made, slide, prediction=prediction, score=score)
        records.append(_record(slide_id, made, prediction=prediction, score=score))
    write_records(out / "slides.parquet", records)
    return MadeRun(path=out, slides=slides)


@pytest.fixture
def open_page() -> Iterator[Callable[..., Any]]:
    """Open an address in headless Chromium; an error on any page fails the test.

    Called with the address, and switches for Chromium besides `CHROMIUM`.
    """
    executable = shutil.which("chromium")
    if executable is None:
        pytest.skip("chromium is not installed")
    errors: list[str] = []
    with sync_playwright() as playwright, ExitStack() as stack:

        def open_address(address: str, *switches: str) -> Any:
            browser = playwright.chromium.launch(
                executable_path=executable, args=[*CHROMIUM, *switches]
            )
            stack.callback(browser.close)
            page = browser.new_page(viewport={"width": 1280, "height": 800})
            page.on("pageerror", lambda error: errors.append(str(error)))
            page.on("console", lambda m: errors.append(m.text) if m.type == "error" else None)
            page.on("dialog", lambda dialog: errors.append(f"dialog: {dialog.message}"))
            page.goto(address)
            return page

        yield open_address
    assert not errors


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """What the command line answered."""

    code: int
    out: str
    err: str


def raypath(*arguments: str | Path, cwd: Path | None = None) -> Command:
    """Run the installed command as a person would."""
    command = [str(Path(sys.executable).with_name("raypath")), *map(str, arguments)]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=cwd, timeout=300, check=False
    )
    return Command(code=done.returncode, out=done.stdout, err=done.stderr)


@pytest.fixture(scope="session", name="raypath")
def raypath_command() -> Callable[..., Command]:
    """The installed command line."""
    return raypath


@dataclass(frozen=True, slots=True, kw_only=True)
class Demo:
    """A small demo's folder, and what it printed."""

    folder: Path
    said: Command

    @property
    def model(self) -> Path:
        return self.folder / "model"


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    """`raypath demo --small`, run once: its model serves the other tests."""
    folder = tmp_path_factory.mktemp("demo") / "demo"
    return Demo(folder=folder, said=raypath("demo", "--small", "--out", folder))


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    """The empty bucket `cohort` as fsspec shows it; commands meanwhile find its server as AWS."""
    server = pytest.importorskip("moto.server", reason="moto and flask are not installed")
    s3fs = pytest.importorskip("s3fs", reason="s3fs is not installed")
    moto = server.ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    moto.start()
    try:
        host, port = moto.get_host_and_port()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "someone")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "something")
        monkeypatch.setenv("RAYPATH_SCRATCH", str(tmp_path / "scratch"))
        s3fs.S3FileSystem.clear_instance_cache()  # those of another test's server
        files = s3fs.S3FileSystem(skip_instance_cache=True)
        files.mkdir("cohort")
        yield files
        files.rm("cohort", recursive=True)  # servers of one process share what they hold
    finally:
        moto.stop()
