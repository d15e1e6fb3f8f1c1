"""A node's answer to a challenge, served as production serves, with or without TLS, right or wrong."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
from aiohttp import web

from gateway.addresses import GuardedResolver
from gateway.challenge import PATH
from registry.advert import Advert
from registry.keys import NodeKey
from registry.signing import challenge_message
from relay.http import make_app, make_connector, make_session
from relay.serving import serve
from tests.gateway.adverts import address, offer

Answer = Callable[[dict[str, Any]], Awaitable[web.StreamResponse]]


def proof(node: NodeKey, spki: str | None = None) -> Answer:
    """The right answer of a node whose advert names that TLS key."""

    async def answer(asked: dict[str, Any]) -> web.StreamResponse:
        message = challenge_message(asked["nonce"], asked["url"], spki, asked["gateway"])
        return web.json_response({"signature": node.sign(message)})

    return answer


@contextlib.asynccontextmanager
async def answering(answer: Answer, tls: ssl.SSLContext | None = None) -> AsyncIterator[tuple[int, list[Any]]]:
    """A server that answers challenges; its port, and what it has been asked."""
    asked: list[Any] = []

    async def handle(request: web.Request) -> web.StreamResponse:
        asked.append(await request.json())
        return await answer(asked[-1])

    bound = asyncio.get_running_loop().create_future()
    stop = asyncio.Event()
    app = make_app([web.post(PATH, handle)], body_limit_bytes=10_000)
    ready = lambda _, port: bound.set_result(port)  # noqa: E731
    task = asyncio.create_task(serve(app, "127.0.0.1", 0, stop=stop, on_ready=ready, tls=tls, linger_s=0))
    try:
        yield await asyncio.wait_for(bound, 90), asked
    finally:
        stop.set()
        await task


@contextlib.asynccontextmanager
async def client(allow_private: bool = True) -> AsyncIterator[aiohttp.ClientSession]:
    """The session that a gateway uses."""
    async with make_session(make_connector(GuardedResolver(allow_private)), connect_s=2) as session:
        yield session


def advert_of(node: NodeKey, url: str, spki: str | None = None) -> Advert:
    return Advert(
        operator=address("operator"),
        node=node.public,
        seq=1,
        issued_at=1,
        expires_at=2,
        url=url,
        tls_spki_sha256=spki,
        offers=(offer("m"),),
    )
