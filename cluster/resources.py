"""What this process may use, as cgroup and affinity say, and what a task needs of a node."""

import os
from dataclasses import dataclass
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What is set aside for a task.

    Attributes
    ----------
    cpus
        Threads it computes with, too: Ray tells its process by ``OMP_NUM_THREADS``.
    gpus
        Share of one, or several; nothing in a cluster without any.
    memory_bytes
        Of its process.
    """

    cpus: float = 1.0
    gpus: float = 0.0
    memory_bytes: int = 0


def available_cpus(cgroup: Path = CGROUP) -> int:
    """Whole CPUs this process may use: the least of affinity, cgroup quota and SLURM's grant."""
    counts = [len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()]
    counts.append(_cgroup_cpus(cgroup))
    slurm = os.environ.get("SLURM_CPUS_PER_TASK", "")
    counts.append(int(slurm) if slurm.isdigit() else None)
    return max(1, min(n for n in counts if n))


def available_memory(cgroup: Path = CGROUP) -> int:
    """Bytes this process may use: the least of the machine's memory, the cgroup's and SLURM's."""
    sizes = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for name in ("memory.max", "memory/memory.limit_in_bytes"):  # version 2, then version 1
        try:
            limit = (cgroup / name).read_text().strip()
        except OSError:
            continue
        if limit != "max":
            sizes.append(int(limit))
    slurm = os.environ.get("SLURM_MEM_PER_NODE", "")  # in MiB
    if slurm.isdigit() and int(slurm) > 0:  # 0 is all of the node
        sizes.append(int(slurm) << 20)
    return min(sizes)


def _cgroup_cpus(cgroup: Path) -> int | None:
    """CPUs of the cgroup's quota (version 2, then version 1); None without one."""
    try:
        quota, period = (cgroup / "cpu.max").read_text().split()
    except OSError:
        try:
            quota = (cgroup / "cpu" / "cpu.cfs_quota_us").read_text().strip()
            period = (cgroup / "cpu" / "cpu.cfs_period_us").read_text().strip()
        except OSError:
            return None
    if quota in ("max", "-1"):
        return None
    return max(1, int(quota) // int(period))
