"""`raypath check -o s3://…`: the bucket is tried, the local scratch is looked at, nothing stays."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cluster.serial import SerialExecutor
from pipelines.check import check as module
from pipelines.check import room
from pipelines.check.check import Check, check_cohort
from pipelines.cohort.manifest import read_cohort
from pipelines.output import output_path
from pipelines.settings.config import RunConfig
from tests.pipelines.check.rates import COPIED, FIXED
from tests.pipelines.remote.runs import KEY, URL, left_in, run
from wsi.fetched import scratch_folder

Raypath = Callable[..., Any]
LARGE = replace(FIXED, slide_bytes=3e9)


def check(slides: Path, model: Path, url: str = URL) -> Check:
    config = RunConfig(model=model, executor="serial")
    return check_cohort(read_cohort([str(slides)]), output_path(url), config, SerialExecutor())


def written(bucket: Any) -> list[str]:
    bucket.invalidate_cache()
    return sorted(bucket.find("cohort"))


def test_a_check_at_a_url_estimates_what_its_run_stores(
    slides: Path, model: Path, bucket: Any, tmp_path: Path
) -> None:
    found = check(slides, model)
    assert (found.failing, found.problems) == (1, ())
    (gap,) = found.unknown
    assert gap.startswith(f"how much room {URL} has")
    assert written(bucket) == [f"{KEY}/check.json"]
    assert left_in(tmp_path / "scratch") == []
    said = json.loads(bucket.cat_file(f"{KEY}/check.json"))
    assert (said["failing"], said["unknown"]) == ({"truncated": 1}, [gap])
    run(slides, output_path(URL), model, codec="auto")
    stored = sum(bucket.info(n)["size"] for n in written(bucket) if "/slides/" in n)
    assert found.estimate is not None
    assert stored / 1.5 < found.estimate.bytes_out < stored * 1.5
    assert found.estimate.at_work_bytes < found.estimate.bytes_out
    page = bucket.cat_file(f"{KEY}/report.html").decode()
    assert "Estimate of raypath check" in page
    assert f"{found.estimate.bytes_out / 1e6:.1f} MB said" in page
    assert f"{stored / 1e6:.1f} MB written" in page


def test_the_scratch_disk_has_to_hold_the_slides_at_work(
    slides: Path, model: Path, bucket: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Path] = []

    def free(path: Path) -> int:
        asked.append(path)
        return 2_000_000_000

    monkeypatch.setattr(module, "_try", lambda *_: (LARGE, [COPIED], []))
    monkeypatch.setattr(room, "free_bytes", free)
    found = check(slides, model)
    (problem,) = found.problems
    scratch = scratch_folder()
    assert asked == [scratch]
    # of two slides at 3 GB each one worker has one at a time
    assert f"need up to 3 GB and 2 GB are free in {scratch}" in problem
    assert "RAYPATH_SCRATCH" in problem
    assert "about 6 GB there" in found.unknown[0]


def test_the_command_says_what_is_wrong_with_the_bucket(
    raypath: Raypath, slides: Path, model: Path, bucket: Any
) -> None:
    flags = ("--model", model, "--executor", "serial")
    said = raypath("check", slides, "-o", "s3://nowhere/out", *flags)
    assert said.code == 1, said.err
    assert "Problem: s3://nowhere/out: there is no such bucket: make it first" in said.err
    assert "broken: will fail (truncated)" in said.out + said.err
    assert written(bucket) == []
