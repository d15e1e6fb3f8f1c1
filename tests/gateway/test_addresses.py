"""Where the gateway does not go, whatever a host name is made to look like."""

from __future__ import annotations

import socket

import pytest

from gateway.addresses import AddressRefused, GuardedResolver
from gateway.challenge import challenge
from registry.advert import Reason, Refused
from registry.keys import NodeKey
from registry.urls import parse_url
from tests.gateway.prover import advert_of, answering, client, proof

LOOPBACK = [
    "localhost",
    "127.0.0.1",
    "127.1",
    "127.0.1",
    "0x7f000001",
    "0x7f.1",
    "2130706433",
    "0177.0.0.1",
    "127.9.9.9",
]
PRIVATE = ["10.0.0.1", "10.1", "172.16.5.4", "192.168.1.1", "0xc0a80101"]
NEVER = ["0.0.0.0", "0", "169.254.169.254", "169.254.1", "0xa9fea9fe", "2852039166", "100.64.0.1", "224.0.0.1",
         "255.255.255.255", "192.0.2.1", "198.18.0.1"]  # fmt: skip
NEVER_6 = ["::", "::ffff:169.254.169.254", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "fe80::1", "ff02::1"]
PRIVATE_6 = ["::1", "fd00::1"]


async def _resolve(name: str, allow_private: bool, family: socket.AddressFamily = socket.AF_INET) -> list[str]:
    resolver = GuardedResolver(allow_private)
    try:
        return [entry["host"] for entry in await resolver.resolve(name, 443, family)]
    finally:
        await resolver.close()


@pytest.mark.parametrize("name", [*LOOPBACK, *PRIVATE, *NEVER])
async def test_names_that_lead_inside_are_refused(name: str) -> None:
    with pytest.raises(AddressRefused, match="does not go"):
        await _resolve(name, allow_private=False)


@pytest.mark.parametrize("name", [*LOOPBACK, *PRIVATE])
async def test_private_addresses_are_for_those_who_allow_them(name: str) -> None:
    assert await _resolve(name, allow_private=True)


@pytest.mark.parametrize("name", NEVER)
async def test_link_local_and_the_like_are_refused_even_then(name: str) -> None:
    with pytest.raises(AddressRefused):
        await _resolve(name, allow_private=True)


@pytest.mark.parametrize("name", [*NEVER_6, *PRIVATE_6])
async def test_ipv6_that_leads_inside_is_refused(name: str) -> None:
    with pytest.raises(OSError):  # AddressRefused, or no IPv6 on this machine
        await _resolve(name, allow_private=False, family=socket.AF_INET6)


@pytest.mark.parametrize("name", NEVER_6)
async def test_ipv6_that_is_never_gone_to(name: str) -> None:
    with pytest.raises(OSError):
        await _resolve(name, allow_private=True, family=socket.AF_INET6)


@pytest.mark.parametrize("allow_private", [False, True])
async def test_public_addresses_are_gone_to(allow_private: bool) -> None:
    assert await _resolve("8.8.8.8", allow_private) == ["8.8.8.8"]


@pytest.mark.parametrize("host", ["127.1", "127.0.1", "2130706433", "0177.0.0.1", "0x7f000001", "0x7f.1", "0", "1.2.3"])
def test_numbers_that_the_http_client_would_not_resolve_never_get_into_an_advert(host: str) -> None:
    """The client takes what looks like an IPv4 address for one, and asks no resolver."""
    with pytest.raises(Refused) as refused:
        parse_url(f"https://{host}")
    assert refused.value.reason is Reason.URL_REFUSED


async def test_a_node_at_a_name_that_leads_inside_is_not_asked_for_its_proof() -> None:
    node = NodeKey.new()
    async with answering(proof(node)) as (port, asked):
        advert = advert_of(node, f"http://localhost:{port}")
        async with client(allow_private=False) as session:
            with pytest.raises(Refused) as refused:
                await challenge(session, advert, NodeKey.new())
        assert refused.value.reason is Reason.URL_REFUSED
        assert asked == []
        async with client(allow_private=True) as session:
            await challenge(session, advert, NodeKey.new())
        assert len(asked) == 1
