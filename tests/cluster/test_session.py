"""What Ray has noted of a cluster on this machine, which may have ended since."""

from __future__ import annotations

import socket

from st_ray.cluster.session import _ended


def test_a_cluster_that_was_killed_is_not_waited_for() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{server.getsockname()[1]}"
        assert _ended(address)  # bound, but nobody listens
        server.listen()
        assert not _ended(address)
    assert _ended(address)
    assert _ended("no address")
    assert not _ended(None)
    assert not _ended("")
