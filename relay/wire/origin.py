"""Where an upstream is: the connections to one origin are alike and can be used in each other's place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import aiohttp
from yarl import URL

_USUAL_PORT = {True: 443, False: 80}


@dataclass(frozen=True, slots=True)
class Origin:
    """A host and port, or a Unix socket's path. Equal ones share their kept connections.

    `tls`: None is plain HTTP, True asks the web's certificate authorities, a Fingerprint is its own `check`. Without
    `keep` each request has a connection of its own: some programs close one that they said they would keep.
    """

    host: str
    port: int
    tls: aiohttp.Fingerprint | bool | None = None
    socket: str | None = None
    keep: bool = True

    @classmethod
    def of(cls, url: str, tls: aiohttp.Fingerprint | bool = True) -> Self:
        """Of an http or https URL, whose path is of no matter here. Raises ValueError for any other."""
        parsed = URL(url)
        if parsed.scheme not in ("http", "https") or not parsed.host or not parsed.port:
            raise ValueError(f"{url!r} is not the URL of a server; write http://host:port or https://host:port")
        if parsed.scheme == "http":
            return cls(parsed.host, parsed.port)
        if tls is False:
            raise ValueError("https without any check of the server's key; give tls=True or a Fingerprint")
        return cls(parsed.host, parsed.port, tls)

    @classmethod
    def on_socket(cls, path: str, host: str = "localhost", keep: bool = True) -> Self:
        """A Unix socket's; `host` is for the Host header alone."""
        return cls(host, 80, socket=path, keep=keep)

    @property
    def authority(self) -> str:
        """The value of Host."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _USUAL_PORT[self.tls is not None] else f"{host}:{self.port}"
