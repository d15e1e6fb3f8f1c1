"""What the options of services have in common: where they listen, where they keep their state.

Imports the standard library alone, so that a command's `--help` is quick. Not here: any command's own options.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from ipaddress import ip_address
from pathlib import Path


def state_folder() -> Path:
    """Where keys and what must survive a restart are kept unless told otherwise: `$XDG_STATE_HOME/waypost`."""
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(base) / "waypost"


def parse_listen(text: str) -> tuple[str, int]:
    """`HOST:PORT` (IPv6 in brackets) -> (host, port). Raises ValueError with the fix."""
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not host or not (port.isascii() and port.isdigit()) or int(port) > 65535:
        raise ValueError(f"{text!r} is not HOST:PORT; write for example 127.0.0.1:8800")
    return host, int(port)


def is_loopback(listen: str) -> bool:
    """Whether `HOST:PORT` is reachable from this machine alone."""
    host, _ = parse_listen(listen)
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def check_payer(registries: Iterable[str], payer_key: Path | None) -> None:
    """Raises ValueError with the fix if one of these has to be paid for and nobody does."""
    if payer_key is None and any(url.startswith("evm+") for url in registries):
        raise ValueError("--registry evm+...: needs --payer-key FILE, a wallet that pays for the chain's gas")
