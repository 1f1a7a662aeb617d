"""`raypath run`, tried first, second and wrongly."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tifffile

from pipelines.records import SlideRecord, read_records
from wsi.atomic import digest
from wsi.testing import Specimen, write_slide

Raypath = Callable[..., Any]


@pytest.fixture(scope="module")
def slides(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two small slides, and a plain TIFF that does not say how large its pixels are."""
    folder = tmp_path_factory.mktemp("slides")
    for seed in (1, 2):
        specimen = Specimen(seed=seed, width=1100, height=900, tumour=seed == 1)
        write_slide(folder / f"slide {seed}.svs", specimen)
    with tifffile.TiffFile(folder / "slide 1.svs") as tiff:
        tifffile.imwrite(folder / "plain.tif", tiff.pages[0].asarray())
    return folder


def records_of(out: Path) -> dict[str, SlideRecord]:
    return {record.slide_id: record for record in read_records(out / "slides.parquet")}


def test_a_folder_of_slides_on_ray(
    raypath: Raypath, demo: Any, slides: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    said = raypath("run", slides, "-o", out, "--model", demo.model, "--json")
    assert said.code == 1
    lines = [json.loads(line) for line in said.out.splitlines()]
    assert {line["slide_id"]: line["verdict"] for line in lines} == {
        "slide 1": "ok",
        "slide 2": "ok",
        "plain": "failed",
    }
    run = json.loads((out / "run.json").read_text())
    assert run["counts"] == {"ok": 2, "partial": 0, "failed": 1}
    assert run["config"]["executor"] == "ray"
    assert run["config"]["model"] == str(demo.model)
    with h5py.File(out / "slides" / "slide 1" / "tiles.h5") as file:
        n_tiles = next(line["n_tiles"] for line in lines if line["slide_id"] == "slide 1")
        assert file["features"].shape == (n_tiles, 368)
        assert file["coords"].dtype == np.int64
        assert file["coords"].attrs["mpp_source"] == "vendor property"


def test_without_mpp_the_message_names_both_ways_and_both_work(
    raypath: Raypath, demo: Any, slides: Path, tmp_path: Path
) -> None:
    options = ("--model", demo.model, "--executor", "serial")
    said = raypath("run", slides / "plain.tif", "-o", tmp_path / "none", *options)
    assert said.code == 1
    assert "--mpp" in said.err
    assert "mpp column" in said.err
    flag = tmp_path / "flag"
    assert raypath("run", slides / "plain.tif", "-o", flag, "--mpp", "0.5", *options).code == 0
    assert records_of(flag)["plain"].mpp_source == "flag"
    manifest = tmp_path / "manifest.csv"
    manifest.write_text(f"path,mpp\n{slides / 'plain.tif'},0.5\n")
    column = tmp_path / "column"
    assert raypath("run", manifest, "-o", column, *options).code == 0
    assert records_of(column)["plain"].mpp_source == "manifest"


def test_real_slides_each_get_a_verdict(
    raypath: Raypath, demo: Any, shared_data: Path, tmp_path: Path
) -> None:
    folder = shared_data / "slides"
    names = {
        "CMU-1-Small-Region.svs": ("ok", ""),
        "test3-DAPI-2-(387).ndpi": ("failed", "not_brightfield"),
        "multi_frame_jpeg_camelyon_challenge_image.dcm": ("failed", "resolution"),
        "broken.svs": ("failed", "unsupported"),
        "kidney-48-5.tif": ("failed", "no_mpp"),
        "sm_image_grayscale.dcm": ("failed", "unsupported"),
        "not there.svs": ("failed", "not_found"),
    }
    manifest = tmp_path / "manifest.csv"
    manifest.write_text("path\n" + "".join(f'"{folder / name}"\n' for name in names))
    said = raypath(
        "run", manifest, "-o", tmp_path / "out", "--model", demo.model, "--executor", "serial"
    )
    assert said.code == 1
    found = records_of(tmp_path / "out")
    for name, (verdict, reason) in names.items():
        record = found[Path(name).stem]
        assert (record.verdict, record.reason) == (verdict, reason)
        assert bool(record.message) == (verdict == "failed")
    assert "1 ok, 0 partial, 6 failed" in said.err


def test_a_duplicated_slide_id_is_refused_before_any_work(
    raypath: Raypath, demo: Any, slides: Path, tmp_path: Path
) -> None:
    manifest = tmp_path / "manifest.csv"
    manifest.write_text(f"path\n{slides / 'slide 1.svs'}\n{slides / 'slide 1.svs'}\n")
    said = raypath("run", manifest, "-o", tmp_path / "out", "--model", demo.model)
    assert said.code == 2
    assert "'slide 1' is used 2 times" in said.err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--model", "nowhere"), "no model at nowhere"),
        (("--model", "MODEL", "--min-tissue-fraction", "2"), "less than or equal to 1"),
        (("--model", "MODEL", "--stride", "5000"), "stride_px must be in 1-128"),
        (("--model", "MODEL", "--executor", "dask"), "'ray' or 'serial'"),
        (("--model", "MODEL", "--config", "CONFIG"), "colour"),
    ],
)
def test_a_wrong_request_is_one_line_and_code_2(
    raypath: Raypath,
    demo: Any,
    slides: Path,
    tmp_path: Path,
    arguments: tuple[str, ...],
    message: str,
) -> None:
    config = tmp_path / "run.toml"
    config.write_text('colour = "blue"\n')
    places = {"MODEL": str(demo.model), "CONFIG": str(config)}
    given = [places.get(a, a) for a in arguments]
    said = raypath("run", slides / "slide 1.svs", "-o", tmp_path / "out", *given)
    assert said.code == 2
    assert message in said.err
    assert "Traceback" not in said.err
    assert not (tmp_path / "out").exists()


def test_damaged_tiles_make_a_partial_slide_and_stay_out_of_the_bag(
    raypath: Raypath, demo: Any, tmp_path: Path
) -> None:
    path = write_slide(tmp_path / "hurt.svs", Specimen(seed=3, width=2600, height=2600))
    whole = tmp_path / "whole"
    options = ("--model", demo.model, "--executor", "serial")
    assert raypath("run", path, "-o", whole, *options).code == 0
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages[0]
        middle = len(page.dataoffsets) // 2
        start, length = page.dataoffsets[middle], page.databytecounts[middle]
    with path.open("r+b") as file:
        file.seek(start)
        file.write(b"\x00" * length)
    out = tmp_path / "out"
    said = raypath("run", path, "-o", out, *options)
    assert said.code == 0, said.err
    record, before = records_of(out)["hurt"], records_of(whole)["hurt"]
    assert (record.verdict, record.reason) == ("partial", "unreadable_region")
    assert record.n_invalid_tiles
    assert _read_tiles(record) == _read_tiles(before) - record.n_invalid_tiles
    with h5py.File(out / "slides" / "hurt" / "tiles.h5") as file:
        assert len(file["invalid_coords"]) == record.n_invalid_tiles
        assert np.isfinite(file["features"][:]).all()


def _read_tiles(record: SlideRecord) -> int:
    """Tiles that decoded, whether or not they are good enough."""
    return (record.n_tiles or 0) + (record.n_excluded_tiles or 0)


def test_blurred_tiles_are_left_out_counted_and_kept_on_request(
    raypath: Raypath, demo: Any, tmp_path: Path
) -> None:
    path = write_slide(
        tmp_path / "slide.svs", Specimen(seed=31, width=2000, height=1800, blur=True)
    )
    arguments = ("run", path, "-o", tmp_path / "out", "--model", demo.model, "--executor", "serial")
    said = raypath(*arguments, "--json")
    assert said.code == 0, said.err
    (line,) = map(json.loads, said.out.splitlines())
    assert line["n_excluded_tiles"] == sum(line["excluded"].values()) > 0
    assert "focus" in line["excluded"]
    with h5py.File(tmp_path / "out" / "slides" / "slide" / "tiles.h5") as file:
        assert len(file["excluded_coords"]) == line["n_excluded_tiles"]
        assert len(file["quality"]) == len(file["features"]) == line["n_tiles"]
    assert "for quality:" in (tmp_path / "out" / "report.html").read_text()
    said = raypath(*arguments, "--quality", "off", "--preprocess", "denoise", "--json")
    everything = json.loads(said.out)
    assert everything["reused"] == ["tissue", "pyramid"]
    assert everything["n_excluded_tiles"] == 0
    assert everything["n_tiles"] == line["n_tiles"] + line["n_excluded_tiles"]


def test_a_second_run_does_nothing_twice_and_a_changed_slide_is_done_again(
    raypath: Raypath, demo: Any, tmp_path: Path
) -> None:
    path = write_slide(tmp_path / "slide.svs", Specimen(seed=4, width=900, height=900))
    arguments = ("run", path, "-o", tmp_path / "out", "--model", demo.model, "--executor", "serial")
    assert raypath(*arguments).code == 0
    first = digest(tmp_path / "out" / "slides")
    assert raypath(*arguments).code == 0
    assert records_of(tmp_path / "out")["slide"].reused == (
        "tissue",
        "pyramid",
        "embed",
        "predict",
        "preview",
    )
    assert digest(tmp_path / "out" / "slides") == first
    assert raypath(*arguments, "--stride", "64").code == 0
    assert records_of(tmp_path / "out")["slide"].reused == ("tissue", "pyramid")
    write_slide(path, Specimen(seed=5, width=900, height=900))
    assert raypath(*arguments, "--stride", "64").code == 0
    assert records_of(tmp_path / "out")["slide"].reused == ()


def test_a_run_killed_at_any_moment_can_be_finished(
    demo: Any, raypath: Raypath, tmp_path: Path
) -> None:
    path = write_slide(tmp_path / "slide.svs", Specimen(seed=6, width=2200, height=2200))
    arguments = ["run", path, "--model", demo.model, "--executor", "serial"]
    undisturbed = tmp_path / "undisturbed"
    assert raypath(*arguments, "-o", undisturbed).code == 0
    expected = _results(undisturbed)
    command = [str(Path(sys.executable).with_name("raypath")), *map(str, arguments)]
    for signs_of_life in ("slides/slide/*", "slides/slide/receipt.json", "slides/slide/*.h5"):
        out = tmp_path / f"killed-{len(list(tmp_path.iterdir()))}"
        process = subprocess.Popen(
            [*command, "-o", str(out)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 120
        while not list(out.glob(signs_of_life)) and time.monotonic() < deadline:
            assert process.poll() is None, "the run ended before it could be killed"
            time.sleep(0.005)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert raypath(*arguments, "-o", out).code == 0
        assert _results(out) == expected
        shutil.rmtree(out)


def _results(out: Path) -> dict[str, str]:
    """Digest of everything a person or a program uses, by name; nothing else may be there."""
    return {p.name: digest(p) for p in (out / "slides" / "slide").iterdir()}
