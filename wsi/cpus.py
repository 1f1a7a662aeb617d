"""How many threads are worth starting."""

import os


def usable_cpus() -> int:
    """CPUs this process may run on, or ``OMP_NUM_THREADS`` if that is less.

    The variable is how schedulers tell a process its share: Ray sets it for each of its workers.
    """
    if hasattr(os, "sched_getaffinity"):
        available = len(os.sched_getaffinity(0))
    else:
        available = os.cpu_count() or 1
    share = os.environ.get("OMP_NUM_THREADS", "")
    return max(1, min(available, int(share))) if share.isdigit() else available
