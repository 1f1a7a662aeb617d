"""Slides at s3://, from an S3 server on loopback: the same results as from the files themselves."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import zarr

from pipelines.errors import UsageError
from pipelines.output import check_local
from pipelines.report.report import write_report

Raypath = Callable[..., Any]
BUCKET = "cohort"  # of the fixture


def test_info_and_convert_of_a_slide_in_a_bucket(
    raypath: Raypath, synthetic: Any, bucket: Any, tmp_path: Path
) -> None:
    bucket.put(str(synthetic.path), f"{BUCKET}/a b/synthetic.svs")
    url = f"s3://{BUCKET}/a b/synthetic.svs"
    said = raypath("info", url, "--json")
    assert said.code == 0, said.err
    facts = json.loads(said.out)
    assert (facts["path"], facts["reader"]) == (url, "jpeg")
    for source, folder in ((url, "far"), (synthetic.path, "near")):
        said = raypath("convert", source, "-o", tmp_path / folder, "--executor", "serial")
        assert said.code == 0, said.err
    far, near = (
        zarr.open_group(tmp_path / folder / "synthetic.ome.zarr", mode="r")
        for folder in ("far", "near")
    )
    for level in ("0", "1"):
        np.testing.assert_array_equal(far[level][...], near[level][...])
    assert [f.name for f in (tmp_path / "scratch").glob("raypath-*/*/*.svs")] == ["synthetic.svs"]


@pytest.mark.slow
def test_a_cohort_in_a_bucket_is_run_once(
    raypath: Raypath, demo: Any, bucket: Any, tmp_path: Path
) -> None:
    """A manifest, a slide, its pyramid and a slide that is not there, all at s3://."""
    slide = min((demo.folder / "slides").glob("*.svs"))
    pyramid = demo.folder / "out" / "slides" / slide.stem / "image.ome.zarr"
    bucket.put(str(slide), f"{BUCKET}/{slide.name}")
    bucket.put(str(pyramid), f"{BUCKET}/pyramid.ome.zarr", recursive=True)
    rows = f"path\n{slide.name}\ns3://{BUCKET}/pyramid.ome.zarr\nnone.svs\n"
    bucket.pipe(f"{BUCKET}/manifest.csv", rows.encode())
    out = tmp_path / "out"
    flags = ("-o", out, "--model", demo.model, "--workers", "2", "--json")
    said = raypath("run", f"s3://{BUCKET}/manifest.csv", *flags)
    assert said.code == 1, said.err
    records = {r["slide_id"]: r for r in map(json.loads, said.out.splitlines())}
    assert {i: (r["verdict"], r["reason"]) for i, r in records.items()} == {
        slide.stem: ("ok", ""),
        "pyramid": ("ok", ""),
        "none": ("failed", "not_found"),
    }
    assert records[slide.stem]["path"] == f"s3://{BUCKET}/{slide.name}"
    wanted = demo.folder / "out" / "slides" / slide.stem / "tiles.h5"
    for slide_id in (slide.stem, "pyramid"):
        with h5py.File(out / "slides" / slide_id / "tiles.h5") as got, h5py.File(wanted) as made:
            for name in ("coords", "features"):
                np.testing.assert_array_equal(got[name][:], made[name][:])
    again = raypath("run", f"s3://{BUCKET}/manifest.csv", *flags)
    for record in map(json.loads, again.out.splitlines()):
        done = {"tissue", "pyramid", "embed", "predict", "preview"}
        assert set(record["reused"]) == (done if record["verdict"] == "ok" else set())


@pytest.mark.parametrize("out", ["s3://bucket/out", "gs://bucket", "memory://out"])
def test_what_needs_a_folder_refuses_a_url(
    raypath: Raypath, synthetic: Any, out: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="can be copied"):
        check_local(Path(out))
    with pytest.raises(UsageError, match=out):
        write_report(Path(out))
    said = raypath("convert", synthetic.path, "-o", out, cwd=tmp_path)
    assert said.code == 2
    assert f"{out}: this needs a folder on a disk" in said.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("out", ["memory://out", "https://host/out"])
def test_results_go_to_stores_that_keep_them(
    raypath: Raypath, synthetic: Any, out: str, tmp_path: Path
) -> None:
    said = raypath("run", synthetic.path, "-o", out, cwd=tmp_path)
    assert said.code == 2
    assert "'raypath run' can write to s3:// and gs://" in said.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("out", ["out", "/data/out", "C:/out", "s3/out", "a:b/c"])
def test_results_go_to_a_disk(out: str) -> None:
    check_local(Path(out))
