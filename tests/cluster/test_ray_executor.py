"""A cluster that is not there is said at once; a local Ray that is slow to start gets its time."""

import socket
from typing import Any

import pytest
import ray

from cluster.connection import STARTS, connect, start
from cluster.errors import ClusterError


def test_an_address_where_nothing_listens_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(ClusterError, match=rf"nothing answers at 127\.0\.0\.1:{port}"):
        connect(f"127.0.0.1:{port}")


def slow(monkeypatch: pytest.MonkeyPatch, *, times: int, message: str) -> list[int]:
    """Have Ray fail to start so often; the list grows with each try."""
    tries: list[int] = []
    real: Any = ray.init

    def init(**options: Any) -> Any:
        tries.append(len(tries))
        if len(tries) <= times:
            raise Exception(message)  # noqa: TRY002  # as Ray does
        return real(**options)

    monkeypatch.setattr(ray, "init", init)
    return tries


BUSY = "The current node timed out during startup. This could happen because the GCS is overloaded."


def test_a_local_ray_that_is_not_up_in_time_is_started_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tries = slow(monkeypatch, times=STARTS - 1, message=BUSY)
    try:
        start(1)
        assert ray.is_initialized()
    finally:
        ray.shutdown()
    assert len(tries) == STARTS


def test_a_local_ray_that_never_is_up_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    tries = slow(monkeypatch, times=STARTS, message=BUSY)
    with pytest.raises(ClusterError, match=r"not up in time, 3 times.*--executor serial"):
        start(1)
    assert len(tries) == STARTS


def test_what_else_keeps_ray_from_starting_is_not_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tries = slow(monkeypatch, times=1, message="no space left on device")
    with pytest.raises(Exception, match="no space left"):
        start(1)
    assert len(tries) == 1
