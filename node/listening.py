"""Where a node takes requests: the address that it is told, with its own TLS or without.

Not here: what it answers (api), and the certificate (certificate).
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable

from node.api import Api
from relay.listening import EVERYWHERE, everywhere
from relay.options import parse_listen
from relay.serving import serve

_LINGER_S = 1.0  # what still runs by then has had its drain_s


async def listen(
    api: Api, address: str, tls: ssl.SSLContext | None, stop: asyncio.Event, bound: Callable[[str], None]
) -> None:
    """Serve until `stop`. `bound` is told the URL. Raises OSError where the address cannot be had."""
    host, port = parse_listen(address)

    def announce(bound_host: str, bound_port: int) -> None:
        shown = f"[{bound_host}]" if ":" in bound_host else bound_host
        bound(f"{'https' if tls else 'http'}://{shown}:{bound_port}")

    sock = everywhere(port) if host == EVERYWHERE else None
    await serve(
        api.app(), host, port,
        api=api.endpoints(), stop=stop, on_ready=announce, tls=tls, linger_s=_LINGER_S, sock=sock,
    )  # fmt: skip
