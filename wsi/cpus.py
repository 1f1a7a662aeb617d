"""How many threads are worth starting."""

import os


def usable_cpus() -> int:
    """CPUs this process may run on; a quota of its container is for the caller to know."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
