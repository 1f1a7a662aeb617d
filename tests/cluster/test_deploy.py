"""The files of `cluster/deploy` are what their readers accept, and agree with each other."""

import json
import os
import re
import shutil
import subprocess
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

from pipelines.settings.config import load_config

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "cluster" / "deploy"


def rayjob() -> dict[str, Any]:
    job: dict[str, Any] = yaml.safe_load((DEPLOY / "rayjob.yaml").read_text())
    return job


def cluster() -> dict[str, Any]:
    described: dict[str, Any] = yaml.safe_load((DEPLOY / "ray-cluster.yaml").read_text())
    return described


def test_ray_up_accepts_the_cluster() -> None:
    """Ray's own checks, with its defaults filled in as `ray up` does; no cloud is asked."""
    validate_config(prepare_config(cluster()))


def test_ray_up_would_refuse_a_misspelt_key() -> None:
    with pytest.raises(jsonschema.ValidationError, match="idle_minutes"):
        validate_config(prepare_config(cluster() | {"idle_minutes": 5}))


def test_the_job_fits_the_fields_of_kuberay() -> None:
    schema = json.loads(Path(__file__).with_name("rayjob.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    job = rayjob()
    jsonschema.validate(job, schema)
    job["spec"]["rayClusterSpec"]["headGroupSpec"]["rayStartParams"]["num-cpus"] = 0
    with pytest.raises(jsonschema.ValidationError, match="is not of type 'string'"):
        jsonschema.validate(job, schema)


def test_both_clusters_start_with_one_worker_and_grow_to_four() -> None:
    worker = cluster()["available_node_types"]["worker"]
    assert (worker["min_workers"], worker["max_workers"], cluster()["max_workers"]) == (1, 4, 4)
    spec = rayjob()["spec"]["rayClusterSpec"]
    (group,) = spec["workerGroupSpecs"]
    assert spec["enableInTreeAutoscaling"] is True
    assert [group[name] for name in ("replicas", "minReplicas", "maxReplicas")] == [1, 1, 4]


def test_the_job_has_the_ray_that_the_image_gets() -> None:
    pinned = re.search(r"^ray==(.+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert pinned
    assert rayjob()["spec"]["rayClusterSpec"]["rayVersion"] == pinned[1]


def test_all_take_the_same_image_and_configuration() -> None:
    spec = rayjob()["spec"]["rayClusterSpec"]
    groups = [spec["headGroupSpec"], *spec["workerGroupSpecs"]]
    images = {c["image"] for g in groups for c in g["template"]["spec"]["containers"]}
    assert images == {cluster()["docker"]["image"]} == {f"REGISTRY/raypath:{version('raypath')}"}
    said = " ".join(path.read_text() for path in DEPLOY.iterdir())
    assert set(re.findall(r"--config (\S+)", said)) == {"/data/run.toml", "run.toml", '"$config"'}
    settings = load_config(DEPLOY / "run.toml", {})
    assert settings.model == Path("/data/model")


def test_every_command_in_the_files_is_one_that_raypath_has(raypath_help: str) -> None:
    said = " ".join(path.read_text() for path in DEPLOY.iterdir())
    commands = set(re.findall(r"\braypath (run|submit|status|[a-z]+) [/\"$M]", said))
    assert commands == {"run", "submit", "status"}
    assert all(f" {command} " in raypath_help for command in commands)


@pytest.fixture(scope="module")
def raypath_help() -> str:
    from typer.testing import CliRunner

    from pipelines.cli.main import cli

    return CliRunner().invoke(cli, ["--help"]).output


def test_the_slurm_script_parses() -> None:
    subprocess.run(["bash", "-n", str(DEPLOY / "slurm.sh")], check=True)


def test_the_slurm_script_passes_shellcheck() -> None:
    shellcheck = shutil.which("shellcheck")
    if shellcheck is None:
        pytest.skip("shellcheck is not installed")
    subprocess.run([shellcheck, str(DEPLOY / "slurm.sh")], check=True)


STAND_INS = {
    "scontrol": 'echo "$FIRST"; echo other',
    "srun": 'while [[ $1 == --* ]]; do shift; done; echo "$@" >> "$LOG"; exec "$@"',
    "ray": "if [[ $1 == start ]]; then exec sleep 60; fi",
    "python3": "echo token",
}
# Of both nodes: they may be slower than a run that does nothing.
STARTED = 'until [[ $(grep -c "^ray start" "$LOG") == 2 ]]; do sleep 0.1; done'
STORE = f"--object-store-memory={256 << 20}"


def start_slurm_script(
    tmp_path: Path, stand_ins: dict[str, str], granted: dict[str, str]
) -> subprocess.Popen[bytes]:
    """Begin it in a session of its own; what it runs is in the file ``log``."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, body in stand_ins.items():
        script = folder / name
        script.write_text(f"#!/bin/bash\n{body}\n")
        script.chmod(0o755)
    environment = {
        "PATH": f"{folder}:{os.environ['PATH']}",
        "LOG": str(tmp_path / "log"),
        "FIRST": "node1",
        "SLURM_JOB_ID": "41234",
        "SLURM_JOB_NODELIST": "node[1-2]",
    } | granted
    words = ["bash", str(DEPLOY / "slurm.sh"), "/d/manifest.csv", "/d/out", "/d/run.toml"]
    return subprocess.Popen(words, env=environment, start_new_session=True)


@pytest.mark.parametrize("code", [0, 7])
def test_the_slurm_script_ends_where_ray_does_not_start(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], code: int
) -> None:
    stand_ins = STAND_INS | {"ray": f"[[ $1 == start ]] && exit {code}; exit 1"}
    process = start_slurm_script(tmp_path, stand_ins, {"SLURM_CPUS_PER_TASK": "8"})
    try:
        assert process.wait(timeout=100) == (code or 1)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, 9)
    assert "Ray did not start on node1" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("granted", "flags", "code"),
    [
        (
            {"SLURM_CPUS_PER_TASK": "8", "SLURM_MEM_PER_NODE": "20480"},
            ["--num-cpus=8", STORE, f"--memory={16 << 30}"],
            0,
        ),
        (
            {"SLURM_CPUS_ON_NODE": "5", "SLURM_MEM_PER_CPU": "2048"},
            ["--num-cpus=5", STORE, f"--memory={8 << 30}"],
            1,
        ),
        ({"SLURM_CPUS_PER_TASK": "8"}, ["--num-cpus=8", STORE], 0),
        (
            {"SLURM_CPUS_PER_TASK": "8", "SLURM_MEM_PER_NODE": "0"},  # all of the node's
            ["--num-cpus=8", STORE],
            0,
        ),
    ],
)
def test_the_slurm_script_starts_ray_on_every_node_and_ends_as_the_run_does(
    tmp_path: Path, granted: dict[str, str], flags: list[str], code: int
) -> None:
    """With stand-ins for SLURM and Ray: what is run where, in which order, with what exit code."""
    raypath = f'{STARTED}; echo raypath "$@" >> "$LOG"; exit {code}'
    process = start_slurm_script(tmp_path, STAND_INS | {"raypath": raypath}, granted)
    try:
        assert process.wait(timeout=100) == code
    finally:
        os.killpg(process.pid, 9)  # the stand-ins of Ray, which SLURM would end
    lines = (tmp_path / "log").read_text().splitlines()
    (head,) = [line for line in lines if "--head" in line]
    (worker,) = [line for line in lines if line.startswith("ray start") and "--head" not in line]
    assert "--port=21234" in head
    assert "--address=node1:21234" in worker
    for line in (head, worker):
        sizes = [w for w in line.split() if w.startswith(("--num-cpus", "--object", "--memory"))]
        assert sizes == flags
    assert (
        "raypath run /d/manifest.csv -o /d/out --config /d/run.toml --address node1:21234" in lines
    )
