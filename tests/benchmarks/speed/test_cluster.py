"""The benchmarks of a cluster: as small as they get, and what follows from measurements by hand."""

from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmarks.scale import cluster_size
from benchmarks.scale.cluster_size import Costs, driver_time, on_paper
from benchmarks.speed import cluster
from pipelines.cli.main import cli
from wsi.testing import Specimen, write_slide


def test_the_driver_is_as_slow_as_measured_and_beyond_in_proportion() -> None:
    measured = [(10, 1e-3), (1000, 2e-3)]
    assert driver_time(measured, 1) == pytest.approx(1e-3)
    assert driver_time(measured, 10) == pytest.approx(1e-3)
    assert driver_time(measured, 505) == pytest.approx(1.5e-3)
    assert driver_time(measured, 1000) == pytest.approx(2e-3)
    assert driver_time(measured, 3000) == pytest.approx(6e-3)


def test_what_is_scarcest_sets_the_rate() -> None:
    costs = Costs(block_s=1, slide_s=10, blocks=10, bytes=1e9)  # twenty seconds of a worker
    slow = [(1, 1e-3)]
    rows = on_paper(costs, [(10**6, 1e-9)], cpus=10, storage=1e20)
    limits = [(nodes, limit) for nodes, _, limit in rows]
    assert limits == [(nodes, "workers") for nodes in cluster_size.ON_PAPER]
    assert rows[1][1] == pytest.approx(3600 * 100 / 20)
    assert on_paper(costs, [(10**6, 1e-9)], cpus=10, storage=1e9)[-1] == (1000, 3600.0, "storage")
    nodes, rate, limit = on_paper(costs, slow, cpus=10, storage=1e20)[-1]
    assert (nodes, limit) == (1000, "driver")
    assert rate == pytest.approx(3600 / (12 * 1e-3 * 10_000))
    whole = on_paper(costs, slow, cpus=10, storage=1e20, tasks=1)[-1]
    assert whole[1] == pytest.approx(12 * rate)


@pytest.mark.slow
def test_a_made_up_cluster_is_driven(capsys: pytest.CaptureFixture[str]) -> None:
    words = "--nodes 1 --cpus 1 --slides 1 --faster 1000 --blocks 3 --tasks 10 --pretend 1 8"
    cluster_size.main(words.split())
    said = capsys.readouterr().out
    assert "slides/h" in said
    assert said.splitlines()[-1].split()[-1] in ("workers", "driver", "storage")


@pytest.mark.slow
def test_one_worker_against_two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "JOBS", (replace(cluster.JOBS[0], times=1),))  # a Ray each is long
    slide = write_slide(tmp_path / "s.svs", Specimen(seed=2, width=700, height=600))
    words = ["benchmark", "cluster", str(slide), "--runs", "1", "--slides", "2", "--tile-px", "64"]
    done = CliRunner().invoke(cli, [*words, "--folder", str(tmp_path)])
    assert done.exit_code == 0, done.output
    assert done.output.count("efficiency of two workers at least 0.9, measured") == 1
