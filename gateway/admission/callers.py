"""Pure: by which name a client without an API key is known: its address, as the gateway's connection has it.

An IPv6 host may take any of the 2^64 addresses of its network, so those are one caller. What `X-Forwarded-For` says is
not believed: anybody can write it.
"""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv6Address, ip_address

_NETWORK_BITS = 64


@lru_cache(maxsize=4096)
def address_of(peer: str) -> str:
    """The caller at that address; one name for all that have none, as on a Unix socket."""
    try:
        address = ip_address(peer.partition("%")[0])
    except ValueError:
        return "here"
    if not isinstance(address, IPv6Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    network = IPv6Address(int(address) >> _NETWORK_BITS << _NETWORK_BITS)
    return f"{network}/{_NETWORK_BITS}"
