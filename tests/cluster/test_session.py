"""What Ray has noted of a cluster on this machine, which may have ended since."""

from __future__ import annotations

import socket

from st_ray.cluster.session import _no_cluster


def test_a_cluster_that_was_killed_is_not_waited_for() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{server.getsockname()[1]}"
        assert _no_cluster(address)  # bound, but nobody listens
        server.listen()
        assert not _no_cluster(address)
    assert _no_cluster(address)
    assert _no_cluster("no address")
    assert _no_cluster(None)
    assert _no_cluster("")
