"""Repeat, and print medians with their spread, the machine and the versions."""

import platform
import statistics
import time
from collections.abc import Callable, Mapping
from importlib.metadata import version

from cluster.resources import available_cpus

LIBRARIES = ("raypath", "openslide-python", "openslide-bin", "zarr", "numpy", "pillow")


def repeat(tasks: Mapping[str, Callable[[], object]], *, runs: int) -> dict[str, list[float]]:
    """Time every task `runs` times, in turns, so that a slow moment of the machine hits all."""
    seconds: dict[str, list[float]] = {name: [] for name in tasks}
    for _ in range(runs):
        for name, task in tasks.items():
            started = time.perf_counter()
            task()
            seconds[name].append(time.perf_counter() - started)
    return seconds


def print_table(seconds: Mapping[str, list[float]], *, baseline: str, unit: float = 0) -> None:
    """One line a task: median, range, ratio of the medians to `baseline`'s; units a second."""
    print(f"{platform.platform()}, {available_cpus()} CPUs, Python {platform.python_version()}")
    print(", ".join(f"{name} {version(name)}" for name in LIBRARIES))
    reference = statistics.median(seconds[baseline])
    for name, times in seconds.items():
        median = statistics.median(times)
        rate = f"  {unit / median:8.1f} MP/s" if unit else ""
        print(
            f"{name:28} {median * 1000:9.1f} ms  ({min(times) * 1000:.1f}-{max(times) * 1000:.1f}, "
            f"{len(times)} runs)  {median / reference:6.2f} x {baseline}{rate}"
        )
