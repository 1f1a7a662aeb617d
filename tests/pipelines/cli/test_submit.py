"""A run as a job of a real Ray head of the test's own: submitted, ended midway, gone on with."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pipelines.journal import read_journal
from pipelines.records import read_records
from wsi.testing import Specimen, write_slide

PATIENCE_S = 200
BIN = Path(sys.executable).parent
ROOT = Path(__file__).parents[3]


def free_ports(count: int) -> list[str]:
    taken = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [str(server.getsockname()[1]) for server in taken]
    for server in taken:
        server.close()
    return ports


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A Ray head with dashboard, without a token; gives the addresses of jobs and of metrics."""
    names = ("", "dashboard-", "ray-client-server-", "dashboard-agent-listen-", "metrics-export-")
    ports = dict(zip(names, free_ports(len(names)), strict=True))
    words = [
        str(BIN / "ray"),
        "start",
        "--head",
        "--block",
        "--num-cpus=1",
        "--disable-usage-stats",
    ]
    words += [f"--{name}port={port}" for name, port in ports.items()]
    words += ["--dashboard-host=127.0.0.1", "--object-store-memory=100000000"]
    # Ray's sockets have long names, and Linux takes 107 bytes.
    temporary = f"/tmp/raypath-{os.getpid()}"
    words += [f"--temp-dir={temporary}"]
    environment = os.environ | {
        "RAY_AUTH_MODE": "disabled",
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
    }
    log = tmp_path_factory.mktemp("head") / "log"
    with log.open("w") as said:
        process = subprocess.Popen(words, env=environment, stdout=said, stderr=subprocess.STDOUT)
        try:
            wait_for(lambda: "block forever" in log.read_text(), process, log)
            yield {
                "jobs": f"http://127.0.0.1:{ports['dashboard-']}",
                "metrics": ports["metrics-export-"],
            }
        finally:
            process.terminate()  # it ends what it started
            process.wait(PATIENCE_S)
            shutil.rmtree(temporary, ignore_errors=True)


def wait_for(sign: Callable[[], bool], process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not sign():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)


@pytest.mark.slow
def test_a_run_is_submitted_ended_midway_and_gone_on_with(
    raypath: Callable[..., Any], head: dict[str, str], tmp_path: Path
) -> None:
    for seed in range(3):
        write_slide(tmp_path / f"{seed}.svs", Specimen(seed=seed, width=500, height=600))
    (tmp_path / "m.csv").write_text("path\n0.svs\n1.svs\n2.svs\n")
    address = ("--address", head["jobs"])

    def submit() -> str:
        said = raypath("submit", "m.csv", "-o", "out", *address, "--batch-size", "16", cwd=tmp_path)
        assert said.code == 0, said.err
        return str(said.out.strip())

    out, first = tmp_path / "out", submit()
    deadline = time.monotonic() + PATIENCE_S
    while not any(read_journal(out / "records.jsonl")):
        assert time.monotonic() < deadline, raypath("logs", first, *address).out
        time.sleep(0.05)
    ended = raypath("cancel", first, *address)
    assert ended.out == f"{first} stopped\n", ended.err
    assert "ended by SIGTERM" in raypath("logs", first, *address).out
    assert json.loads(raypath("status", out, "--json").out)["state"] == "interrupted"
    second = submit()
    logs = raypath("logs", second, *address, "--follow").out
    assert "--batch-size 16" in logs
    assert "3 ok, 0 partial, 0 failed" in logs, logs
    records = read_records(out / "slides.parquet")
    assert [record.verdict for record in records] == ["ok"] * 3
    assert any(record.is_reused for record in records)
    listed = raypath("status", *address, "--json").out.splitlines()
    jobs = {job["job"]: (job["state"], job["out"]) for job in map(json.loads, listed)}
    assert jobs == {first: ("stopped", str(out)), second: ("succeeded", str(out))}
    unknown = raypath("logs", "nowhere", *address)
    assert unknown.code == 2
    assert "nowhere" in unknown.err


@pytest.mark.slow
def test_counts_appear_where_prometheus_reads_them(head: dict[str, str], tmp_path: Path) -> None:
    told = tmp_path / "worker"
    code = (
        "import pathlib, ray, time\n"
        "ray.init('auto', logging_level='ERROR')\n"
        f"told = pathlib.Path({str(told)!r})\n"
        "told.write_text(ray.get_runtime_context().get_worker_id())\n"
        "from cluster.metrics import RunMetrics\n"
        "metrics = RunMetrics()\n"
        "metrics.count(verdict='ok', tiles=7, seconds={'embed': 2.0})\n"
        "metrics.count(verdict='failed', tiles=0, seconds={})\n"
        f"time.sleep({PATIENCE_S})\n"  # the job is stopped with its cluster
    )
    from cluster.jobs import find_job, submit_job

    script = tmp_path / "count.py"
    script.write_text(code)
    job = submit_job(head["jobs"], [sys.executable, str(script)], metadata={})
    deadline = time.monotonic() + PATIENCE_S
    lines: list[str] = []  # of this job; Ray goes on telling those of others for a while
    while not ("embed" in str(lines) and "raypath_slides_total" in str(lines)):
        assert time.monotonic() < deadline, f"{find_job(head['jobs'], job)}: {lines}"
        time.sleep(0.5)
        with urllib.request.urlopen(f"http://{node_address()}:{head['metrics']}/metrics") as page:
            text = page.read().decode()
        if told.exists():
            lines = [line for line in text.splitlines() if f'"{told.read_text()}"' in line]
    values = {
        line.split("{")[0] + str('verdict="ok"' in line): float(line.rsplit(" ", 1)[1])
        for line in lines
        if line.startswith("ray_raypath")
    }
    assert values["ray_raypath_slides_totalTrue"] == 1
    assert values["ray_raypath_slides_totalFalse"] == 1
    assert values["ray_raypath_tiles_totalFalse"] == 7
    assert values["ray_raypath_step_seconds_sumFalse"] == 2
    assert values["ray_raypath_step_seconds_countFalse"] == 1


def node_address() -> str:
    from ray.util import get_node_ip_address

    return str(get_node_ip_address())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--address", "http://127.0.0.1:1"), "Failed to connect"),
        (("--address", "127.0.0.1:6379"), "http://HEAD:8265"),
        (("--address", "http://x:1", "--modle", "m"), "No such option: --modle"),
        (("--address", "http://x:1", "--stride", "wide"), "--stride"),
        (("--address", "http://x:1", "--working-dir", "."), "shared storage"),
        (("--address", "http://127.0.0.1:1", "--codec", "jpg"), "'auto' or 'zstd'"),
    ],
)
def test_a_wrong_request_is_said_and_nothing_is_sent(
    raypath: Callable[..., Any], tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    said = raypath("submit", "m.csv", "-o", "out", *arguments, cwd=tmp_path)
    assert said.code == 2
    assert message in said.err
    assert ("Failed to connect" in said.err) == ("connect" in message)
    assert "Traceback" not in said.err


def test_what_only_the_cluster_sees_is_said_and_sent(
    raypath: Callable[..., Any], tmp_path: Path
) -> None:
    flags = ("-o", "/there/out", "--config", "/there/run.toml", "--also", "/there/other")
    address = ("--address", "http://127.0.0.1:1")
    said = raypath("submit", "/there/m.csv", *flags, *address, cwd=tmp_path)
    assert said.code == 2
    assert "Not on this machine, so not checked: /there/m.csv, /there/run.toml\n" in said.err
    assert "Failed to connect" in said.err  # it was tried


def test_a_variable_that_names_another_cluster_is_no_silent_choice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from cluster.errors import ClusterError
    from cluster.jobs import list_jobs

    monkeypatch.setenv("RAY_ADDRESS", "http://elsewhere:8265")
    with pytest.raises(ClusterError, match="RAY_ADDRESS is 'http://elsewhere:8265'"):
        list_jobs("http://here:8265")
