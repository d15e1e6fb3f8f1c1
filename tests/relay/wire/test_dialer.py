"""Making connections: which addresses they go to, and whose key is at the other end."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from gateway.addresses import GuardedResolver
from relay.errors import ConnectFailed
from relay.wire.origin import Origin
from tests.programs import free_port
from tests.relay.wire.certificate import Certificate, make_certificate
from tests.relay.wire.scene import LIMITS, Run, connections, flowing, send, settled, whole
from tests.relay.wire.scripted import Peer, scripted

NAME = "upstream.example"
SHORT = replace(LIMITS, connect_s=0.2)


async def polite(peer: Peer) -> None:
    while await peer.request():
        await peer.say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        await peer.say(b"0\r\n\r\n")


class Book(AbstractResolver):
    """Knows one name."""

    def __init__(self, *addresses: str, failure: Exception | None = None) -> None:
        self._addresses = addresses
        self._failure = failure
        self.asked: list[tuple[str, int]] = []

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        self.asked.append((host, port))
        if self._failure is not None:
            raise self._failure
        return [
            ResolveResult(hostname=host, host=each, port=port, family=family, proto=0, flags=0)
            for each in self._addresses
        ]

    async def close(self) -> None: ...


class Silent(Book):
    """Never answers."""

    async def resolve(self, *_: object, **__: object) -> list[ResolveResult]:
        await asyncio.Event().wait()
        raise AssertionError


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return make_certificate(tmp_path_factory.mktemp("tls"), [NAME, "127.0.0.1"])


def test_each_new_connection_asks_where_the_name_leads(run: Run) -> None:
    async def scene() -> None:
        book = Book("127.0.0.1")
        async with scripted(polite) as upstream, connections(resolver=book) as upstreams:
            origin = Origin(NAME, upstream.port)
            for _ in range(3):
                assert await whole(await send(upstreams, origin)) == b"hello"
            assert book.asked == [(NAME, upstream.port)]
            await whole(await send(upstreams, replace(origin, keep=False)))
            assert book.asked == [(NAME, upstream.port)] * 2

    run(scene())


def test_the_addresses_are_tried_in_turn(run: Run) -> None:
    async def scene() -> None:
        book = Book("127.0.0.2", "::1", "127.0.0.1")  # where nobody listens, and then where somebody does
        async with scripted(polite) as upstream, connections(resolver=book) as upstreams:
            assert await whole(await send(upstreams, Origin(NAME, upstream.port))) == b"hello"

    run(scene())


@pytest.mark.parametrize(
    "resolver",
    [
        Book,
        lambda: Book("127.0.0.2"),
        lambda: Book(failure=OSError("no")),
        lambda: GuardedResolver(allow_private=False),
    ],
    ids=["no address", "nobody there", "refused", "guarded"],
)
def test_no_address_to_go_to(run: Run, resolver: Callable[[], AbstractResolver]) -> None:
    async def scene() -> None:
        async with scripted(polite) as upstream, connections(resolver=resolver()) as upstreams:
            with pytest.raises(ConnectFailed) as raised:
                await send(upstreams, Origin("127.0.0.1", upstream.port))
            assert (raised.value.code, upstream.peers) == ("connect_failed", [])

    run(scene())


@pytest.mark.parametrize(
    "origin",
    [
        Origin("127.0.0.1", free_port()),
        Origin("a..b", 80),
        Origin("x" * 300, 80),
        Origin.on_socket("/nowhere/at/all"),
        Origin.on_socket("/" + "long" * 100),
    ],
    ids=["closed port", "no name", "long name", "no socket", "long path"],
)
def test_nobody_there(run: Run, origin: Origin) -> None:
    async def scene() -> None:
        async with connections() as upstreams:
            with pytest.raises(ConnectFailed) as raised:
                await send(upstreams, origin)
            assert raised.value.code == "connect_failed"

    run(scene())


def test_a_name_that_is_not_found_in_time(run: Run) -> None:
    async def scene() -> None:
        async with connections(resolver=Silent()) as upstreams:
            with pytest.raises(ConnectFailed) as raised:
                await send(upstreams, Origin(NAME, 80), limits=SHORT)
            assert raised.value.code == "connect_timeout"

    run(scene())


def test_a_handshake_that_is_not_answered(run: Run, certificate: Certificate) -> None:
    async def script(peer: Peer) -> None:
        await peer.gone()

    async def scene() -> None:
        async with scripted(script) as upstream, connections() as upstreams:
            with pytest.raises(ConnectFailed) as raised:
                await send(upstreams, Origin("127.0.0.1", upstream.port, tls=certificate.pin), limits=SHORT)
            assert raised.value.code == "connect_timeout"

    run(scene())


def test_a_pinned_key_is_enough(run: Run, certificate: Certificate) -> None:
    """Whatever name the certificate is for, and whoever signed it."""

    async def scene() -> None:
        book = Book("127.0.0.1")
        async with scripted(polite, tls=certificate.server) as upstream, connections(resolver=book) as upstreams:
            origin = Origin("another.example", upstream.port, tls=certificate.pin)
            for read in (whole, flowing, whole):
                assert await read(await send(upstreams, origin)) == b"hello"
            assert (len(upstream.peers), repr(upstreams)) == (1, "<Upstreams 0 busy, 1 kept>")

    run(scene())


def test_another_key_is_told_nothing(run: Run, certificate: Certificate, tmp_path: Path) -> None:
    heard = []

    async def script(peer: Peer) -> None:
        heard.append(await peer.gone())

    async def scene() -> None:
        other = make_certificate(tmp_path, [NAME])
        async with scripted(script, tls=other.server) as upstream, connections() as upstreams:
            with pytest.raises(ConnectFailed) as raised:
                await send(upstreams, Origin("127.0.0.1", upstream.port, tls=certificate.pin))
            assert raised.value.code == "connect_failed"
            await settled(upstreams, "0 busy, 0 kept")

    run(scene())
    assert heard in ([], [b""])


def test_the_webs_authorities_vouch_for_the_name(run: Run, certificate: Certificate) -> None:
    async def scene() -> None:
        book = Book("127.0.0.1")
        async with (
            scripted(polite, tls=certificate.server) as upstream,
            connections(resolver=book, web=certificate.client) as upstreams,
        ):
            assert await whole(await send(upstreams, Origin(NAME, upstream.port, tls=True))) == b"hello"
            assert await whole(await send(upstreams, Origin(NAME + ".", upstream.port, tls=True))) == b"hello"
            with pytest.raises(ConnectFailed) as raised:
                await send(upstreams, Origin("another.example", upstream.port, tls=True))
            assert raised.value.code == "connect_failed"

    run(scene())


def test_a_certificate_that_nobody_vouches_for(run: Run, certificate: Certificate) -> None:
    async def scene() -> None:
        async with (
            scripted(polite, tls=certificate.server) as upstream,
            connections(web=ssl.create_default_context()) as upstreams,
        ):
            with pytest.raises(ConnectFailed):
                await send(upstreams, Origin("127.0.0.1", upstream.port, tls=True))
            assert (
                await whole(await send(upstreams, Origin("127.0.0.1", upstream.port, tls=certificate.pin))) == b"hello"
            )

    run(scene())


def test_an_answer_over_tls_that_ends_with_its_connection(run: Run, certificate: Certificate) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.say(b"HTTP/1.1 200 OK\r\n\r\nhello")

    async def scene() -> None:
        async with scripted(script, tls=certificate.server) as upstream, connections() as upstreams:
            for read in (whole, flowing):
                source = await send(upstreams, Origin("127.0.0.1", upstream.port, tls=certificate.pin))
                assert await read(source) == b"hello"

    run(scene())


def test_a_caller_that_leaves_while_it_connects(run: Run, certificate: Certificate) -> None:
    """Cancelled after 0, 1, 2, ... turns of the loop."""

    async def scene() -> None:
        async with scripted(polite, tls=certificate.server) as upstream, connections() as upstreams:
            origin = Origin("127.0.0.1", upstream.port, tls=certificate.pin, keep=False)
            for turns in range(40):
                task = asyncio.create_task(send(upstreams, origin))
                for _ in range(turns):
                    await asyncio.sleep(0)
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    (await task).close()
                assert repr(upstreams) == "<Upstreams 0 busy, 0 kept>"

    run(scene())
