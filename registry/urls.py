"""The one form of a node's URL, `https://host[:port]`, and whether a reader may use it.

Every site has exactly one spelling, so that a signed URL, a delegation's suffix and a challenge mean the same place.
Not here: DNS, connections (gateway).
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address

from registry.addresses import allowed
from registry.reasons import Reason, Refused

__all__ = ["HOST_NAME", "Site", "check_site", "in_suffixes", "parse_url"]

_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
HOST_NAME = rf"{_LABEL}(?:\.{_LABEL})*"
_URL = re.compile(r"(https?)://(\[[0-9a-f:]+\]|[a-z0-9.-]+)(?::([0-9]+))?")
_HOST = re.compile(HOST_NAME)
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_DEFAULT_PORTS = {"https": 443, "http": 80}


@dataclass(frozen=True, slots=True)
class Site:
    """A parsed URL. `host` is without brackets; `address` is set if the host is an IP literal."""

    scheme: str
    host: str
    port: int
    address: IPv4Address | IPv6Address | None


@lru_cache(maxsize=4096)  # one advert's URL is looked at several times
def parse_url(url: str) -> Site:
    """Read a URL of the one form; raises Refused (url refused). `http` passes here: `check_site` decides on it."""
    match = _URL.fullmatch(url)
    if match is None:
        raise _refused("must be https://host[:port] in lower case, without path, user, query or fragment")
    scheme, host, port = match.groups()
    name = host.strip("[]")
    return Site(scheme, name, _port(scheme, port), _address(host))


def check_site(site: Site, allow_private: bool) -> None:
    """Raise Refused (url refused) for a site that this reader does not go to, as far as can be told without DNS."""
    if site.scheme == "http" and not allow_private:
        raise _refused("http is allowed only with --allow-private; use https")
    if site.address is not None and not allowed(site.address, allow_private):
        raise _refused(f"{site.address} is not a public address" if not allow_private else f"{site.address} is barred")
    if not allow_private and (site.host == "localhost" or site.host.endswith(".localhost")):
        raise _refused("localhost is allowed only with --allow-private")


def in_suffixes(site: Site, suffixes: tuple[str, ...]) -> bool:
    """Does a suffix match the whole host name, or what follows a dot in it? An IP literal has no suffixes."""
    if site.address is not None:
        return site.host in suffixes
    return any(site.host == suffix or site.host.endswith("." + suffix) for suffix in suffixes)


def _port(scheme: str, digits: str | None) -> int:
    default = _DEFAULT_PORTS[scheme]
    if digits is None:
        return default
    if digits.startswith("0") or len(digits) > 5 or int(digits) > 65535:
        raise _refused("the port must be 1 to 65535 without leading zeros")
    if int(digits) == default:
        raise _refused(f"leave the default port {default} out")
    return int(digits)


def _address(host: str) -> IPv4Address | IPv6Address | None:
    """The address of a literal, None for a name. Only the canonical spelling of either passes."""
    try:
        if host.startswith("["):
            six = ipaddress.IPv6Address(host[1:-1])
            if str(six) != host[1:-1] or six.ipv4_mapped is not None:
                raise _refused(f"write the IPv6 address as [{six}], an IPv4-mapped one as IPv4")
            return six
        if _NUMBER.fullmatch(host.rsplit(".", 1)[-1]):
            return ipaddress.IPv4Address(host)
    except ipaddress.AddressValueError as error:
        raise _refused(f"{host} is not an IP address in its usual form") from error
    if len(host) > 253 or not _HOST.fullmatch(host):
        raise _refused(f"{host[:80]} is not a host name")
    return None


def _refused(detail: str) -> Refused:
    return Refused(Reason.URL_REFUSED, f"url: {detail}")
