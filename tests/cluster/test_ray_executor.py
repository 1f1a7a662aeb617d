"""tests/cluster/test_ray_executor.py — a cluster that is not there is said at once."""

import socket

import pytest

from cluster.connection import connect
from cluster.errors import ClusterError


def test_an_address_where_nothing_listens_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(ClusterError, match=rf"nothing answers at 127\.0\.0\.1:{port}"):
        connect(f"127.0.0.1:{port}")
