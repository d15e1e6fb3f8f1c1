"""A port that is reserved is nobody else's, and every worker's."""

from __future__ import annotations

import contextlib
import socket

import pytest

from gateway.workers.port import join, reserve


def _address(made: socket.socket) -> tuple[int, str, int]:
    host, port = made.getsockname()[:2]
    return made.family, host, port


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_a_reserved_port_is_refused_to_all_but_workers(host: str) -> None:
    with contextlib.ExitStack() as sockets:
        reserved = sockets.enter_context(reserve(host, 0))
        family, at, port = _address(reserved)
        assert at == ("::1" if host == "::1" else "127.0.0.1")
        with pytest.raises(OSError, match="in use"):
            reserve(at, port)
        with pytest.raises(OSError, match="in use"):
            socket.create_server((at, port), family=socket.AddressFamily(family))
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((at, port), timeout=5)
        workers = [sockets.enter_context(join((family, at, port))) for _ in range(3)]
        for worker in workers:
            worker.listen()
        with pytest.raises(OSError, match="in use"):
            reserve(at, port)
        for _ in range(10):
            sockets.enter_context(socket.create_connection((at, port), timeout=5))


def test_what_an_ended_gateway_leaves_behind_is_no_bar() -> None:
    with reserve("127.0.0.1", 0) as reserved, join(_address(reserved)) as worker:
        address = _address(reserved)
        worker.listen()
        with socket.create_connection(address[1:], timeout=5) as client:
            worker.accept()[0].close()  # who closes first, keeps the connection in mind for a minute
            assert client.recv(1) == b""
    with reserve(*address[1:]), join(address) as worker:
        worker.listen()
        socket.create_connection(address[1:], timeout=5).close()


def test_a_worker_cannot_join_a_port_that_nobody_reserved() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other, pytest.raises(OSError, match="in use"):
        join(_address(other))
