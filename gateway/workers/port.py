"""One port for several processes: the parent reserves it and never listens, each worker listens on a socket of its own.

The kernel hands each new connection to one of those that listen (SO_REUSEPORT), by a hash of the client's address.
"""

from __future__ import annotations

import socket

__all__ = ["join", "reserve"]


def reserve(host: str, port: int) -> socket.socket:
    """Port 0 takes a free one. Raises OSError where somebody has it already, be it another gateway with workers.

    Whether a port is free is asked as a server of one process asks. Sharing is allowed only once it is ours, and with
    those alone that ask to share it: with workers.
    """
    family, address = _resolve(host, port)
    reserved = _bound(family, address, shared=False)
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    return reserved


def join(reserved: tuple[int, str, int]) -> socket.socket:
    """A socket at the reserved (family, host, port), bound and ready to listen. Raises OSError."""
    family, host, port = reserved
    return _bound(family, (host, port), shared=True)


def _resolve(host: str, port: int) -> tuple[int, tuple[str, int]]:
    """One address; of a name that has several, an IPv4 one."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, *_, address = min(found, key=lambda each: each[0] != socket.AF_INET)
    return family, (str(address[0]), int(address[1]))


def _bound(family: int, address: tuple[str, int], *, shared: bool) -> socket.socket:
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # what an ended server leaves behind is no bar
        if shared:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)  # as a server of one process has it
        made.bind(address)
    except OSError:
        made.close()
        raise
    return made
