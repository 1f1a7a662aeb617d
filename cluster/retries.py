"""Which failures can pass, how often they are tried again, and after how long.

A storage that does not answer answers later, and a lost worker or node is replaced. Everything
else (a corrupt file, a missing resolution, a defect of ours) fails again in the same way, and is
not tried twice.
"""

import errno
from collections.abc import Mapping

# Tries in all, by the failure's kind. A slide that ends one worker after another is itself to
# blame. A node that goes is not the slide's fault, unless one node after another does. What took
# too much memory may have come to a worker that held some already, so it gets one new worker. A GPU
# and an object store empty as others end; a full disk does not by itself.
TRIES: Mapping[str, int] = {
    "unreachable": 4,
    "io_error": 4,
    "worker_lost": 4,
    "node_lost": 8,
    "out_of_memory": 2,
    "device_memory": 4,
    "object_store_full": 4,
}
FIRST_WAIT_S = 0.5
LONGEST_WAIT_S = 30.0

# What disks and network file systems say when they may answer the next time.
PASSING_ERRNOS = frozenset(
    {
        errno.EAGAIN,
        errno.EBUSY,
        errno.ECONNABORTED,
        errno.ECONNREFUSED,
        errno.ECONNRESET,
        errno.EHOSTUNREACH,
        errno.EINTR,
        errno.EIO,
        errno.ENETDOWN,
        errno.ENETUNREACH,
        errno.ESTALE,
        errno.ETIMEDOUT,
    }
)


def wait_s(kind: str, tries: int) -> float | None:
    """Seconds to wait before the next try; None where there is to be none.

    Doubles with each try, from `FIRST_WAIT_S` to `LONGEST_WAIT_S`.

    Parameters
    ----------
    kind
        Of the failure, see `cluster.executor.Failure`.
    tries
        How many there were with a failure of this kind.
    """
    if tries >= TRIES.get(kind, 1):
        return None
    return min(FIRST_WAIT_S * 2.0 ** (tries - 1), LONGEST_WAIT_S)
