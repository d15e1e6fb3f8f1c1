"""Making connections: names to addresses, TCP or a Unix socket, TLS with the web's authorities or with a pin.

Not here: what is said on a connection (upstream), and which are kept (upstreams).
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable

import aiohttp
from aiohttp.abc import AbstractResolver

from relay.errors import ConnectFailed
from relay.wire.origin import Origin
from relay.wire.upstream import Upstream


class Dialer:
    """Connects. With a resolver it goes to the addresses that this gives, and to no others."""

    def __init__(self, resolver: AbstractResolver | None, web: ssl.SSLContext | None) -> None:
        self._resolver = resolver
        self._web = web
        self._pinned = _unverifying()

    async def dial(self, origin: Origin, make: Callable[[], Upstream], limit_s: float) -> Upstream:
        """A connection that `make` gave. Raises ConnectFailed: nothing has been said on it."""
        try:
            async with asyncio.timeout(limit_s):
                return await self._dial(origin, make)
        except TimeoutError as error:
            raise ConnectFailed("The upstream did not accept a connection in time.", code="connect_timeout") from error
        except (OSError, ValueError, aiohttp.ServerFingerprintMismatch) as error:  # ValueError: no name of a host
            raise ConnectFailed("The upstream could not be reached.", code="connect_failed") from error

    async def _dial(self, origin: Origin, make: Callable[[], Upstream]) -> Upstream:
        if origin.socket is not None:
            return await self._connect(origin, origin.socket, make())
        refusal: Exception = OSError("the name leads to no address")
        try:
            for address in await self._addresses(origin):
                try:
                    return await self._connect(origin, address, make())
                except (OSError, aiohttp.ServerFingerprintMismatch) as error:
                    refusal = error
            raise refusal
        finally:
            del refusal  # its traceback holds this frame

    async def _addresses(self, origin: Origin) -> list[str]:
        if self._resolver is None:
            loop = asyncio.get_running_loop()
            found = await loop.getaddrinfo(origin.host, origin.port, type=socket.SOCK_STREAM)
            return [str(entry[4][0]) for entry in found]
        resolved = await self._resolver.resolve(origin.host, origin.port, socket.AF_UNSPEC)
        return [entry["host"] for entry in resolved]

    async def _connect(self, origin: Origin, address: str, line: Upstream) -> Upstream:
        loop = asyncio.get_running_loop()
        try:
            if origin.socket is not None:
                await loop.create_unix_connection(lambda: line, address)
            elif origin.tls is None:
                await loop.create_connection(lambda: line, address, origin.port)
            else:
                context = self._authorities() if origin.tls is True else self._pinned
                name = origin.host.rstrip(".")
                transport, _ = await loop.create_connection(
                    lambda: line, address, origin.port, ssl=context, server_hostname=name
                )
                if isinstance(origin.tls, aiohttp.Fingerprint):
                    origin.tls.check(transport)
        except BaseException:
            line.drop()  # it may have been made, and then given up
            raise
        return line

    def _authorities(self) -> ssl.SSLContext:
        if self._web is None:
            self._web = ssl.create_default_context()
        return self._web


def _unverifying() -> ssl.SSLContext:
    """For a pin, which checks more than the web's authorities would."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.options |= ssl.OP_NO_COMPRESSION
    context.set_alpn_protocols(["http/1.1"])
    return context
