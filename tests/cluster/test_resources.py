"""How many CPUs this process may use; machines of 64 give containers of 2."""

import os
from pathlib import Path

import pytest

from cluster.resources import available_cpus, available_memory


@pytest.fixture(autouse=True)
def many_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sixteen CPUs by affinity, and no scheduler."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)))
    for name in ("SLURM_CPUS_PER_TASK", "SLURM_MEM_PER_NODE", "SLURM_MEM_PER_CPU"):
        monkeypatch.delenv(name, raising=False)


def write_v1(cgroup: Path, quota: str, period: str) -> None:
    (cgroup / "cpu").mkdir()
    (cgroup / "cpu" / "cpu.cfs_quota_us").write_text(f"{quota}\n")
    (cgroup / "cpu" / "cpu.cfs_period_us").write_text(f"{period}\n")


def test_without_a_quota_the_affinity_counts(tmp_path: Path) -> None:
    assert available_cpus(tmp_path) == 16


@pytest.mark.parametrize(
    ("quota", "cpus"),
    [
        ("max 100000", 16),
        ("200000 100000", 2),
        ("350000 100000", 3),
        ("50000 100000", 1),  # half a CPU is still one process
        ("400000 50000", 8),
        ("6400000 100000", 16),  # a quota beyond the affinity
    ],
)
def test_a_quota_of_cgroup_version_2(tmp_path: Path, quota: str, cpus: int) -> None:
    (tmp_path / "cpu.max").write_text(f"{quota}\n")
    assert available_cpus(tmp_path) == cpus


@pytest.mark.parametrize(("quota", "cpus"), [("-1", 16), ("300000", 3), ("20000", 1)])
def test_a_quota_of_cgroup_version_1(tmp_path: Path, quota: str, cpus: int) -> None:
    write_v1(tmp_path, quota, "100000")
    assert available_cpus(tmp_path) == cpus


def test_version_2_wins_where_both_are_mounted(tmp_path: Path) -> None:
    write_v1(tmp_path, "500000", "100000")
    (tmp_path / "cpu.max").write_text("200000 100000\n")
    assert available_cpus(tmp_path) == 2


@pytest.mark.parametrize(
    ("granted", "cpus"), [("4", 4), ("64", 16), ("0", 16), ("", 16), ("2(x3)", 16)]
)
def test_a_grant_of_slurm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, granted: str, cpus: int
) -> None:
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", granted)
    assert available_cpus(tmp_path) == cpus


@pytest.mark.parametrize(
    ("said", "folder"),
    [
        (
            "0::/system.slice/slurmstepd.scope/job_7/step_0/task_1\n",
            "system.slice/slurmstepd.scope",
        ),
        ("5:cpuset:/other\n3:cpu,cpuacct:/slurm/job_7\n2:memory:/slurm/job_7\n", "slurm/job_7"),
    ],
    ids=["version 2", "version 1"],
)
def test_the_own_group_and_those_above_it_count(tmp_path: Path, said: str, folder: str) -> None:
    membership = tmp_path / "membership"
    membership.write_text(said)
    is_first = "3:" in said
    for controller in ("cpu", "memory"):
        group = tmp_path / (controller if is_first else "") / folder
        group.mkdir(parents=True, exist_ok=True)
        if is_first:
            (group / "cpu.cfs_quota_us").write_text("300000\n")
            (group / "cpu.cfs_period_us").write_text("100000\n")
            (group / "memory.limit_in_bytes").write_text("1048576\n")
        else:
            (group / "cpu.max").write_text("300000 100000\n")
            (group / "memory.max").write_text("1048576\n")
    assert available_cpus(tmp_path, membership) == 3
    assert available_memory(tmp_path, membership) == 1 << 20
    # In a container the path is that of the machine, which is not seen, or leads out of it.
    for path in ("/nowhere/x", "/../.."):
        membership.write_text(f"0::{path}\n")
        assert available_cpus(tmp_path, membership) == 16


def test_the_least_of_all_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cpu.max").write_text("600000 100000\n")
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "5")
    assert available_cpus(tmp_path) == 5
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {7})
    assert available_cpus(tmp_path) == 1


def test_a_system_without_affinity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    assert available_cpus(tmp_path) == 6


def test_memory_is_the_least_of_machine_cgroup_and_scheduler(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = available_memory(tmp_path)
    assert machine == os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    (tmp_path / "memory.max").write_text("max\n")
    assert available_memory(tmp_path) == machine
    (tmp_path / "memory.max").write_text("1073741824\n")
    assert available_memory(tmp_path) == 1 << 30
    monkeypatch.setenv("SLURM_MEM_PER_NODE", "512")
    assert available_memory(tmp_path) == 512 << 20
    monkeypatch.setenv("SLURM_MEM_PER_NODE", "0")
    assert available_memory(tmp_path) == 1 << 30
    monkeypatch.setenv("SLURM_MEM_PER_CPU", "100")
    monkeypatch.setenv("SLURM_CPUS_ON_NODE", "4")
    assert available_memory(tmp_path) == 400 << 20


def test_memory_of_cgroup_version_1(tmp_path: Path) -> None:
    (tmp_path / "memory").mkdir()
    (tmp_path / "memory" / "memory.limit_in_bytes").write_text("2147483648\n")
    assert available_memory(tmp_path) == 2 << 30
