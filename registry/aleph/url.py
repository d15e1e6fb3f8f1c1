"""Which node of the network, and which channel: `aleph+https://HOST[:PORT]?channel=NAME`."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlsplit

__all__ = ["DEFAULT_CHANNEL", "Place", "parse_place"]

DEFAULT_CHANNEL = "WAYPOST"

_CHANNEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")  # a comma would be two channels in a query
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_HOST = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(?:\.{_LABEL})*\.?")
_FORM = "must be aleph+https://HOST[:PORT]?channel=NAME (aleph+http for a node on this machine)"


@dataclass(frozen=True, slots=True)
class Place:
    """`origin` is where the node answers, `url` the one spelling of what was asked for."""

    origin: str
    channel: str

    @property
    def url(self) -> str:
        return f"aleph+{self.origin}?channel={self.channel}"

    @property
    def board(self) -> str:
        return f"aleph:{self.channel}"


def parse_place(url: str) -> Place:
    """Read a registry URL; ValueError says what is wrong with it, and repeats no password."""
    if "@" in url:
        raise _bad(
            f"{url.partition(':')[0]}://{url.rpartition('@')[2]}", "a node asks for no user or password; leave them out"
        )
    try:
        parts = urlsplit(url)
        port = parts.port
        query = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError as error:
        raise _bad(url, _FORM) from error
    scheme, host = parts.scheme.removeprefix("aleph+"), parts.hostname or ""
    if scheme not in ("https", "http") or not parts.scheme.startswith("aleph+") or not host or port == 0:
        raise _bad(url, _FORM)
    if not _is_host(host):
        raise _bad(url, f"{host!r} is not the name or the address of a host; {_FORM}")
    if parts.path not in ("", "/") or parts.fragment:
        raise _bad(url, f"leave out the path {parts.path + '#' * bool(parts.fragment)!r}; {_FORM}")
    name = f"[{host}]" if ":" in host else host
    return Place(f"{scheme}://{name}" + (f":{port}" if port else ""), _channel(url, query))


def _is_host(host: str) -> bool:
    if ":" not in host:
        return _HOST.fullmatch(host) is not None
    try:
        return ipaddress.IPv6Address(host).scope_id is None
    except ValueError:
        return False


def _channel(url: str, query: list[tuple[str, str]]) -> str:
    unknown = [name for name, _ in query if name != "channel"]
    if unknown or len(query) > 1:
        raise _bad(url, f"only one option is known, channel=NAME, not {', '.join(unknown) or 'twice'}")
    channel = query[0][1] if query else DEFAULT_CHANNEL
    if not _CHANNEL.fullmatch(channel):
        raise _bad(url, f"the channel {channel!r} must be 1 to 128 of A-Z, a-z, 0-9, '.', '_' and '-'")
    return channel


def _bad(url: str, why: str) -> ValueError:
    return ValueError(f"registry {url}: {why}")
