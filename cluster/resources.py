"""What this process may use, as cgroup and affinity say, and what a task needs of a node."""

import os
from dataclasses import dataclass
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")


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


def available_cpus(cgroup: Path = CGROUP, membership: Path = MEMBERSHIP) -> int:
    """Whole CPUs this process may use: the least of affinity, cgroup quotas and SLURM's grant.

    `cgroup` is where control groups are mounted, and `membership` says in which this process is:
    the quota of each group above its own counts too.
    """
    counts = [len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()]
    counts += [_quota(group) for group in _groups(cgroup, membership, "cpu")]
    counts.append(_from_slurm("SLURM_CPUS_PER_TASK"))
    return max(1, min(n for n in counts if n))


def available_memory(cgroup: Path = CGROUP, membership: Path = MEMBERSHIP) -> int:
    """Bytes this process may use: the least of the machine's memory, its cgroups' and SLURM's.

    Takes what `available_cpus` takes.
    """
    sizes = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for group in _groups(cgroup, membership, "memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):  # version 2, then version 1
            sizes += [int(limit) for limit in _words(group / name) if limit != "max"]
    granted = _from_slurm("SLURM_MEM_PER_NODE")  # in MiB, as those of a CPU
    granted = granted or _from_slurm("SLURM_MEM_PER_CPU") * _from_slurm("SLURM_CPUS_ON_NODE")
    return min([*sizes, granted << 20] if granted else sizes)


def _quota(group: Path) -> int | None:
    """CPUs of a control group's quota (version 2, then version 1); None without one."""
    said = _words(group / "cpu.max") or (
        *_words(group / "cpu.cfs_quota_us"),
        *_words(group / "cpu.cfs_period_us"),
    )
    if len(said) != 2 or said[0] in ("max", "-1"):
        return None
    return max(1, int(said[0]) // int(said[1]))


def _groups(cgroup: Path, membership: Path, controller: str) -> set[Path]:
    """Folders of the control groups that may limit this process: its own and those above it.

    A container often sees its own group as the root, and nothing of the path that is said.
    """
    found = {cgroup, cgroup / controller}
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return found
    for line in lines:  # number:controllers:path, without controllers in version 2
        _, controllers, path = line.split(":", 2)
        own = Path(path.lstrip("/"))
        if ".." not in own.parts and controller in (controllers or controller).split(","):
            root = cgroup / controller if controllers else cgroup
            found |= {root / group for group in (own, *own.parents)}
    return found


def _words(file: Path) -> tuple[str, ...]:
    """What a file says; nothing where there is none."""
    try:
        return tuple(file.read_text().split())
    except OSError:
        return ()


def _from_slurm(name: str) -> int:
    """A number that SLURM gives its jobs; 0 where it gives none, or all there is."""
    said = os.environ.get(name, "")
    return int(said) if said.isdigit() else 0
