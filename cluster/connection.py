"""The Ray that work runs on: one started on this machine, or a cluster that is joined."""

import logging
import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

# Nothing is reported to anyone, and the warning about a future default is not the user's concern.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
# Of a Ray that is started here: a machine that is busy with other things answers late, and is not
# lost. One that is gone refuses at once, and is noticed as soon as before.
os.environ.setdefault("RAY_health_check_timeout_ms", "60000")

import ray

from cluster.errors import ClusterError
from cluster.limits import MOST_OF_NODE
from cluster.resources import available_memory

CONNECT_S = 5.0
STARTS = 3  # of a local Ray; each has half a minute, which Ray lets nobody change
TOO_SLOW = "timed out during startup"  # in what Ray raises then, a plain Exception
OBJECT_STORE_BYTES = 256 << 20  # results are small records; pixels never pass through


def start(cpus: int) -> None:
    """Start a Ray of `cpus` workers on this machine, apart from any that runs there.

    Raises
    ------
    ClusterError
        If it is not up in time, `STARTS` times.
    """
    for _ in range(STARTS):
        try:
            return _start(cpus)
        except Exception as error:
            if TOO_SLOW not in str(error):
                raise
            ray.shutdown()
    raise ClusterError(
        f"a Ray on this machine was not up in time, {STARTS} times: the machine is too busy; try "
        "again later, or work without Ray (--executor serial)"
    )


def _start(cpus: int) -> None:
    with _own_signals():
        ray.init(
            address="local",  # else one that runs on this machine would be joined
            num_cpus=cpus,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
            object_store_memory=OBJECT_STORE_BYTES,
            _memory=int(MOST_OF_NODE * available_memory()),
        )


def connect(address: str) -> None:
    """Join the Ray cluster at `address`: ``host:port``, ``auto`` or ``ray://…``.

    Raises
    ------
    ClusterError
        If nothing answers there, or the cluster refuses us.
    """
    host, _, port = address.rpartition(":")
    if host and port.isdigit() and "/" not in host:
        # Ray itself would go on trying for minutes.
        try:
            socket.create_connection((host, int(port)), timeout=CONNECT_S).close()
        except OSError as error:
            raise ClusterError(
                f"nothing answers at {address} within {CONNECT_S:g} s ({error}): check the "
                "address, or leave --address out to start a local Ray"
            ) from error
    try:
        with _own_signals():
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (OSError, RuntimeError, SystemExit) as error:  # Ray exits when its token is refused
        raise ClusterError(
            f"the Ray cluster at {address} cannot be joined ({type(error).__name__}: {error}): "
            "use the address 'ray start' printed, or 'auto' on its own machine"
        ) from error


@contextmanager
def _own_signals() -> Iterator[None]:
    """Ray takes SIGTERM, to exit without a word; what was to happen is set again."""
    ends = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, ends)
