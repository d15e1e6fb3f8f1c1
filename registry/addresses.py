"""Which IP addresses may be called at all. Pure; asked for literals in adverts and again after each DNS resolution.

Not here: resolving names, connecting (gateway).
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

__all__ = ["allowed"]

# Written out, since what `ipaddress` calls global changed between Python's patch releases.
_NOT_PUBLIC_4 = tuple(
    IPv4Network(network)
    for network in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",  # RFC 1918
        "100.64.0.0/10",  # carrier-grade NAT
        "127.0.0.0/8",  # loopback
        "169.254.0.0/16",  # link-local, cloud metadata
        "172.16.0.0/12",  # RFC 1918
        "192.0.0.0/24",  # protocol assignments
        "192.0.2.0/24",  # documentation
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",  # RFC 1918
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, broadcast
    )
)
_PRIVATE_4 = tuple(IPv4Network(n) for n in ("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"))

_PUBLIC_6 = IPv6Network("2000::/3")
_NOT_PUBLIC_6 = tuple(IPv6Network(n) for n in ("2001::/23", "2001:db8::/32", "3fff::/20"))
_PRIVATE_6 = tuple(IPv6Network(n) for n in ("::1/128", "fc00::/7"))

_MAPPED = IPv6Network("::ffff:0:0/96")
_NAT64 = IPv6Network("64:ff9b::/96")
_6TO4 = IPv6Network("2002::/16")
_TEREDO = IPv6Network("2001::/32")
_LOW_32 = 0xFFFFFFFF


def allowed(ip: IPv4Address | IPv6Address, allow_private: bool) -> bool:
    """May a gateway connect to `ip`? Public addresses; with `allow_private` loopback, RFC 1918 and unique local too."""
    if isinstance(ip, IPv4Address):
        private = allow_private and any(ip in network for network in _PRIVATE_4)
        return private or not any(ip in network for network in _NOT_PUBLIC_4)
    embedded = _embedded(ip)
    if embedded:
        return all(allowed(inner, allow_private=False) for inner in embedded)
    if allow_private and any(ip in network for network in _PRIVATE_6):
        return True
    return ip in _PUBLIC_6 and not any(ip in network for network in _NOT_PUBLIC_6)


def _embedded(ip: IPv6Address) -> tuple[IPv4Address, ...]:
    """The IPv4 addresses that a packet to `ip` would end at, were it translated or tunnelled."""
    value = int(ip)
    if ip in _MAPPED or ip in _NAT64:
        return (IPv4Address(value & _LOW_32),)
    if ip in _6TO4:
        return (IPv4Address(value >> 80 & _LOW_32),)
    if ip in _TEREDO:
        return (IPv4Address(value >> 64 & _LOW_32), IPv4Address(~value & _LOW_32))
    return ()
