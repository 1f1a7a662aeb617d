"""Nuclei of one slide by several workers, and by a command that is killed: always the same."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from PIL import Image

from cluster.ray_executor import RayExecutor
from cluster.serial import SerialExecutor
from pipelines.cohort.manifest import Entry, read_cohort
from pipelines.run import run_cohort
from pipelines.settings.config import RunConfig
from tests.distill.teachers.stand_ins import DarkParts, write_script, write_teacher
from tests.pipelines.nuclei.blobs import MPP, draw_blobs
from wsi.atomic import digest
from wsi.synthetic.aperio import write_svs

pytestmark = pytest.mark.slow
WIDTH, HEIGHT = 5400, 500  # four blocks in a row
MADE = ("nuclei.parquet", "nuclei.geojson", "image.ome.zarr", "heatmap.ome.zarr")


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a slide full of nuclei, all of it tissue."""
    folder = tmp_path_factory.mktemp("slide")
    pixels = draw_blobs(WIDTH, HEIGHT, seed=1, step=40).pixels
    write_svs(
        folder / "s.svs",
        width=WIDTH,
        height=HEIGHT,
        mpp=MPP,
        magnification=40,
        read_block=lambda x, y, w, h: pixels[y : y + h, x : x + w],
    )
    Image.new("L", (WIDTH // 10, HEIGHT // 10), 255).save(folder / "all.png")
    (folder / "manifest.csv").write_text("path,mask\ns.svs,all.png\n")
    return folder / "manifest.csv"


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A teacher that is code in a file, so that other processes find nuclei too."""
    folder = tmp_path_factory.mktemp("teacher")
    write_script(folder / "dark.pt", DarkParts())
    return write_teacher(folder, "instanseg", folder / "dark.pt", mpp=MPP)


@pytest.fixture(scope="module")
def undisturbed(
    manifest: Path, weights: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    """Digests of what one process makes."""
    out = tmp_path_factory.mktemp("undisturbed")
    counts = run_cohort(entries(manifest), out, RunConfig(teacher=weights), SerialExecutor())
    assert counts == {"ok": 1, "partial": 0, "failed": 0}
    table = pq.read_table(out / "slides/s/nuclei.parquet")
    assert len(table) > 1000
    return digests(out)


def entries(manifest: Path) -> list[Entry]:
    return list(read_cohort([str(manifest)], mpp=None))


def digests(out: Path) -> dict[str, str]:
    return {name: digest(out / "slides/s" / name) for name in MADE}


def test_workers_of_ray_share_a_slide_and_find_the_same(
    manifest: Path, weights: Path, undisturbed: dict[str, str], tmp_path: Path
) -> None:
    with RayExecutor(workers=2) as executor:
        counts = run_cohort(entries(manifest), tmp_path, RunConfig(teacher=weights), executor)
    assert counts == {"ok": 1, "partial": 0, "failed": 0}
    assert digests(tmp_path) == undisturbed


def test_a_killed_command_goes_on_block_by_block_to_the_same_result(
    manifest: Path, weights: Path, undisturbed: dict[str, str], tmp_path: Path
) -> None:
    raypath = Path(sys.executable).with_name("raypath")
    words = [str(raypath), "teacher", "predict", str(manifest), "--weights", str(weights)]
    words += ["-o", str(tmp_path), "--executor", "serial"]
    stored: dict[Path, int] = {}
    for attempt in range(2):
        process = subprocess.Popen(
            words,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        while process.poll() is None and len(blocks(tmp_path)) <= len(stored):
            time.sleep(0.005)
        assert process.poll() is None, f"it was done before kill {attempt + 1}"
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        found = {path: path.stat().st_mtime_ns for path in blocks(tmp_path)}
        assert stored.items() <= found.items()  # what was there was not made again
        stored = found
    assert 2 <= len(stored) < 4
    assert not (tmp_path / "slides/s/nuclei.parquet").exists()
    subprocess.run(words, check=True, capture_output=True)
    assert digests(tmp_path) == undisturbed
    assert blocks(tmp_path) == []


def blocks(out: Path) -> list[Path]:
    """What is stored of a search that is not done."""
    found = out.glob("slides/s/.partial-nuclei-*/*.parquet")
    return sorted(path for path in found if not path.name.startswith("."))
