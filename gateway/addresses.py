"""Where the gateway may connect to: addresses are checked after resolution, and the connection goes to those alone.

The rule itself is pure and stands in `registry.addresses`; this is its place in the HTTP client.
"""

from __future__ import annotations

import socket
from ipaddress import ip_address

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

from registry.addresses import allowed


class AddressRefused(OSError):
    """A host name that leads to an address which the gateway does not go to."""


class GuardedResolver(AbstractResolver):
    """Resolves names, and refuses a name if any of its addresses is out of bounds."""

    def __init__(self, allow_private: bool) -> None:
        self._allow_private = allow_private
        self._resolver = ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Raises AddressRefused (an OSError, so aiohttp reports a failed connection)."""
        found = await self._resolver.resolve(host, port, family)
        for entry in found:
            if not allowed(ip_address(entry["host"].partition("%")[0]), self._allow_private):
                raise AddressRefused(f"{host} leads to {entry['host']}, where this gateway does not go")
        return found

    async def close(self) -> None:
        await self._resolver.close()
