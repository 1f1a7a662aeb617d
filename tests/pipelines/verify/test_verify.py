"""`raypath verify`: an untouched run passes, and each file that is not as it was is named."""

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import zarr

from cluster.serial import SerialExecutor
from cluster.threads import ThreadExecutor
from pipelines import receipts
from pipelines.locks.folder import held
from pipelines.records import read_records, write_records
from pipelines.runfolder import NotARunError
from pipelines.verify.contents import read_contents
from pipelines.verify.run import verify_run
from pipelines.verify.slide import VerifyTask, verify_slide
from wsi.atomic import digest

SLIDE = "p000_s0"


@pytest.fixture(scope="module")
def made(demo: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the demo's run, which tests put back as it was."""
    return shutil.copytree(demo.folder / "out", tmp_path_factory.mktemp("made") / "out")


def damaged(out: Path) -> dict[str, set[str]]:
    """Files with problems, by slide."""
    found = verify_run(out, SerialExecutor())
    return {v.name: {p.file for p in v.problems} for v in found if v.problems}


def flip(path: Path, *, share: float = 0.5) -> None:
    """Change one bit of a file."""
    content = bytearray(path.read_bytes())
    content[int(share * (len(content) - 1))] ^= 1
    path.write_bytes(content)


def test_an_untouched_run_passes(made: Path) -> None:
    found = list(verify_run(made, ThreadExecutor(2)))
    assert len(found) == 1 + len(read_records(made / "slides.parquet"))
    assert [v.describe() for v in found if v.problems] == []
    assert all(v.bytes_read > 100_000 for v in found if v.name)


def test_one_bit_of_any_file_of_a_slide_is_found_and_named(made: Path) -> None:
    folder = made / "slides" / SLIDE
    records = {record.slide_id: record for record in read_records(made / "slides.parquet")}
    task = VerifyTask(folder=folder, record=records[SLIDE])
    files = [path for path in folder.rglob("*") if path.is_file()]
    tried = set()
    for path in sorted(files):
        inside = path.relative_to(folder)
        # Of the many alike one each: chunks by level, and all kinds of metadata.
        kind = (*inside.parts[:3], inside.name if inside.suffix else "chunk")
        if kind in tried:
            continue
        tried.add(kind)
        content = path.read_bytes()
        for share in (0.0, 0.5, 1.0):
            flip(path, share=share)
            found = {problem.file for problem in verify_slide(task).problems}
            assert found == {inside.parts[0]}, (inside, share)
            path.write_bytes(content)
    names = {kind[0] for kind in tried}
    assert {"image.ome.zarr", "heatmap.ome.zarr", "tiles.h5", "tissue.geojson"} < names
    assert {"heatmap.geojson", "heatmap.png", "prediction.json", "receipt.json"} < names
    assert verify_slide(task).problems == ()


@pytest.mark.parametrize("name", ["run.json", "slides.parquet", "report.html", "receipt.json"])
@pytest.mark.parametrize("share", [0.0, 1.0])
def test_one_bit_of_the_runs_own_files_is_found_and_named(
    made: Path, name: str, share: float
) -> None:
    content = (made / name).read_bytes()
    flip(made / name, share=share)
    try:
        assert name in damaged(made)[""]
    finally:
        (made / name).write_bytes(content)


def test_what_is_missing_or_too_much_is_named(made: Path, tmp_path: Path) -> None:
    out = shutil.copytree(made, tmp_path / "out")
    shutil.rmtree(out / "slides" / SLIDE / "heatmap.ome.zarr")
    shutil.rmtree(out / "slides" / "p001_s0")
    (out / "slides" / "p002_s0" / "receipt.json").unlink()
    (out / "slides" / "other").mkdir()
    (out / "report.html").unlink()
    assert damaged(out) == {
        "": {"report.html"},
        SLIDE: {"heatmap.ome.zarr"},
        "p001_s0": {"."},
        "p002_s0": {"receipt.json"},
        "other": {"receipt.json", "slides.parquet"},
    }


def test_the_record_is_compared_with_the_files(made: Path, tmp_path: Path) -> None:
    out = shutil.copytree(made, tmp_path / "out")
    records = read_records(out / "slides.parquet")
    changed = [
        replace(record, n_tiles=3, score=0.125) if record.slide_id == SLIDE else record
        for record in records
    ]
    write_records(out / "slides.parquet", changed)
    receipts.seal(out, ("run.json", "slides.parquet", "report.html"))
    (found,) = [v for v in verify_run(out, SerialExecutor()) if v.problems]
    assert found.name == SLIDE
    said = " ".join(p.message for p in found.problems)
    assert "the record says n_tiles 3" in said
    assert "the record says score 0.125" in said


def _move(file: h5py.File) -> None:
    file["coords"][3] = (10**6, 0)


def _double(file: h5py.File) -> None:
    file["coords"][1] = file["coords"][0]


def _not_a_number(file: h5py.File) -> None:
    file["features"][2, 5] = np.nan


def _infinite(file: h5py.File) -> None:
    file["features"][2, 5] = np.inf


def _fewer(file: h5py.File) -> None:
    kept = file["features"][:-1]
    del file["features"]
    file["features"] = kept


def _as_float(file: h5py.File) -> None:
    attributes = dict(file["coords"].attrs)
    coords = file["coords"][:].astype(np.float64)
    del file["coords"]
    file["coords"] = coords
    file["coords"].attrs.update(attributes)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_move, "1 tiles are outside the slide"),
        (_double, "a tile is there twice"),
        (_not_a_number, "1 of .* embeddings hold NaN"),
        (_infinite, "1 of .* embeddings hold NaN or infinity"),
        (_fewer, r"embeddings for \d+ tiles"),
        (_as_float, "coords are float64"),
    ],
)
def test_tiles_that_cannot_be(
    made: Path, tmp_path: Path, change: Callable[[h5py.File], None], message: str
) -> None:
    path = shutil.copy(made / "slides" / SLIDE / "tiles.h5", tmp_path / "tiles.h5")
    assert list(read_contents(path, {})) == []
    with h5py.File(path, "r+") as file:
        change(file)
    (problem,) = read_contents(path, {})
    assert problem.kind == "wrong"
    assert re.search(message, problem.message)


def test_a_chunk_that_does_not_decode_is_named_with_its_place(made: Path, tmp_path: Path) -> None:
    image = shutil.copytree(made / "slides" / SLIDE / "image.ome.zarr", tmp_path / "image.ome.zarr")
    assert list(read_contents(image, {})) == []
    shard = next(p for p in sorted((image / "0").rglob("*")) if p.is_file() and p.name == "0")
    shard.write_bytes(shard.read_bytes()[:-30])
    (problem,) = read_contents(image, {})
    assert "array 0 does not decode at (0, " in problem.message


def test_a_level_of_another_size_and_an_infinite_heat(made: Path, tmp_path: Path) -> None:
    slide = made / "slides" / SLIDE
    image = shutil.copytree(slide / "image.ome.zarr", tmp_path / "image.ome.zarr")
    shutil.rmtree(image / "1")
    zarr.create_array(image, name="1", shape=(3, 9, 9), dtype="u1", chunks=(3, 9, 9))
    said = [problem.message for problem in read_contents(image, {})]
    assert any("level 1 is 9 x 9 px" in message for message in said)
    heat = shutil.copytree(slide / "heatmap.ome.zarr", tmp_path / "heatmap.ome.zarr")
    zarr.open_array(heat / "0", mode="r+")[0, 0, 0] = np.inf
    (problem,) = read_contents(heat, {})
    assert problem.message == "1 values are infinite"


def test_damaged_slides_are_redone_and_only_they(
    made: Path, demo: Any, raypath: Callable[..., Any], tmp_path: Path
) -> None:
    out = shutil.copytree(made, tmp_path / "out")
    flip(out / "slides" / SLIDE / "tiles.h5")
    said = raypath("verify", out, "--json", "--redo", "--executor", "serial")
    assert said.code == 1
    lines = {line["name"]: line["verdict"] for line in map(json.loads, said.out.splitlines())}
    assert [name for name, verdict in lines.items() if verdict == "failed"] == [SLIDE]
    assert f"1 of {len(lines) - 1} slides have problems: {SLIDE}" in said.err
    manifest = demo.folder / "slides" / "manifest.csv"
    # On Ray as the first one, where a task has one thread: with more, sums round otherwise.
    again = raypath("run", manifest, "-o", out, "--model", demo.model, "--workers", "2")
    assert again.code == 0, again.err
    for record in read_records(out / "slides.parquet"):
        assert bool(record.reused) == (record.slide_id != SLIDE)
    assert digest(out / "slides") == digest(made / "slides")
    assert raypath("verify", out).code == 0


def test_no_run_and_a_run_under_way_are_refused(
    made: Path, raypath: Callable[..., Any], tmp_path: Path
) -> None:
    with pytest.raises(NotARunError):
        list(verify_run(tmp_path, SerialExecutor()))
    assert raypath("verify", made / "slides.parquet").code == 2
    with held(made):
        said = raypath("verify", made)
    assert said.code == 2
    assert "is held by process" in said.err
