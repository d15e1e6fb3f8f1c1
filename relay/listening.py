"""A socket that all addresses of a machine reach, IPv4 and IPv6, where there is one. Not here: serving on it."""

from __future__ import annotations

import errno
import socket

EVERYWHERE = "*"
_NO_IPV6 = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)


def everywhere(port: int) -> socket.socket:
    """Bound, for IPv6 and IPv4 alike; where the kernel knows no IPv6, for IPv4. Port 0 takes a free one.

    An IPv4 client's address reads `::ffff:1.2.3.4` on the first kind. Raises OSError where the port is taken.
    """
    if socket.has_dualstack_ipv6():
        try:
            return _bound(socket.AF_INET6, "::", port)
        except OSError as error:
            if error.errno not in _NO_IPV6:
                raise
    return _bound(socket.AF_INET, "0.0.0.0", port)  # noqa: S104 - what was asked for


def _bound(family: socket.AddressFamily, host: str, port: int) -> socket.socket:
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # what an ended server leaves behind is no bar
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        made.bind((host, port))
    except OSError:
        made.close()
        raise
    return made
