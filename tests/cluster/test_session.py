"""What Ray has noted of a cluster on this machine, which may have ended since."""

from __future__ import annotations

import os
import socket

import pytest

from st_ray.cluster.session import _WATCHER, Session, _no_cluster


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


@pytest.mark.parametrize(
    ("address", "gone", "wanted", "given", "seen"),
    [
        (None, True, None, "local", "0"),
        (None, True, "1", "local", "1"),  # the user's word
        (None, False, None, None, None),  # a cluster whose head this machine is
        ("10.0.0.1:6379", True, None, None, None),
    ],
)
def test_only_a_ray_that_is_started_here_goes_unwatched(
    address, gone, wanted, given, seen, monkeypatch
) -> None:
    for name, value in (("RAY_ADDRESS", address), (_WATCHER, wanted)):
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    addresses = []
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    monkeypatch.setattr("ray.init", lambda address, **_: addresses.append(address))
    monkeypatch.setattr("ray.shutdown", lambda: None)
    monkeypatch.setattr("st_ray.cluster.session._no_cluster", lambda noted: gone)
    session = Session(verbose=False)
    session.open()
    assert (addresses, session.started) == ([given], given == "local")
    assert os.environ.get(_WATCHER) == seen
    session.close()
    assert os.environ.get(_WATCHER) == wanted
