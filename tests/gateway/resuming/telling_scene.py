"""Nodes that play a script of bytes, and a gateway's resuming before them, over real sockets in the test's process.

Not here: registries and proofs, which nothing of this needs, and what a stream's events look like (chunks).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import aiohttp
import orjson

from gateway.attempts import Attempts
from gateway.balance import Balance
from gateway.config import GatewayConfig
from gateway.failover import Failover
from gateway.groups import Candidate
from gateway.limits import LimitsOf
from gateway.resuming.resume import Resuming
from gateway.tokens import Tokens
from registry.keys import NodeKey
from relay.answering import Api
from relay.call import BodyLimits, Call
from relay.endpoints import CHAT
from relay.http import make_app
from relay.serving import serve
from relay.wire.inbound import Inbound
from relay.wire.upstreams import Upstreams
from relay.wire.watch import Watch
from tests.gateway.adverts import believed, offer
from tests.gateway.resuming import chunks

CUT, HOLD, END = "cut", "hold", "end"  # the connection; without another byte; as HTTP has it
WAIT = "wait"  # longer than anybody waits for the mark of the end
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
_DRIP_S = 0.1
_WAIT_S = 3.0
Step = bytes | str | tuple[bytes]  # a tuple drips for ever


@dataclass
class Player:
    """A node: its `scripts` are for one request each, in their order; then `END` at once."""

    name: str
    scripts: list[Iterable[Step]]
    url: str = ""
    asked: list[dict[str, Any]] = field(default_factory=list)
    _playing: set[asyncio.Task[Any]] = field(default_factory=set)

    def candidate(self) -> Candidate:
        made = offer("m", "ab", resume=True)
        known = believed("op", self.name, made)
        return Candidate(replace(known, advert=known.advert.model_copy(update={"url": self.url})), made)

    async def play(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        playing = asyncio.current_task()
        assert playing is not None
        self._playing.add(playing)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
                self.asked.append(orjson.loads(await reader.readexactly(length)))
                writer.write(_HEAD)
                for step in self.scripts.pop(0) if self.scripts else ():
                    await self._do(step, reader, writer)
                writer.write(b"0\r\n\r\n")
        writer.close()

    async def rest(self) -> None:
        """Until all its connections are closed."""
        await asyncio.gather(*self._playing)

    async def _do(self, step: Step, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if step == CUT:
            writer.transport.abort()
            raise ConnectionResetError
        if step == HOLD:
            await reader.readexactly(1)
        if step == WAIT:
            await asyncio.sleep(_WAIT_S)
        while isinstance(step, tuple):
            await self._say(step[0], writer)
            await asyncio.sleep(_DRIP_S)
        if isinstance(step, bytes):
            await self._say(step, writer)

    async def _say(self, piece: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        await writer.drain()
        if writer.transport.is_closing():
            raise ConnectionResetError


@dataclass
class Scene:
    """`balance` counts what is in flight. `players` are asked in their order, as long as nothing is known of them."""

    url: str
    balance: Balance
    players: list[Player]
    resumed: list[tuple[str, bool]]

    async def stream(self, **fields: Any) -> bytes:
        """The bytes of an answer, whole or not."""
        return await self.stream_until(None, **fields)

    async def stream_until(self, seen: bytes | None, **fields: Any) -> bytes:
        """The same by a client that leaves once it has seen this."""
        body = {
            "model": "m",
            "stream": True,
            "temperature": 0,
            "messages": [{"role": "user", "content": "x"}],
            **fields,
        }
        read = b""
        async with aiohttp.ClientSession() as session, session.post(self.url, json=body) as response:
            with contextlib.suppress(aiohttp.ClientPayloadError):
                async for piece in response.content.iter_any():
                    read += piece
                    if seen is not None and seen in read:
                        break
        return read


@contextlib.asynccontextmanager
async def scene(
    *players: Player, first_token_s: float = 5, gap_s: float = 5, keepalive_s: float = 0
) -> AsyncIterator[Scene]:
    """Serving as long as the context lasts."""
    config = GatewayConfig(registry=("memory://",), trust=("any",), allow_private=True, open=True,
        connect_s=5, head_s=first_token_s, first_token_s=first_token_s, gap_s=gap_s, queue_s=0,
    )  # fmt: skip
    limits, balance, resumed, upstreams = (
        LimitsOf(config),
        Balance(),
        list[tuple[str, bool]](),
        Upstreams(None, Watch(0.05)),
    )
    attempts = Attempts(balance, lambda _: None)
    resuming = Resuming(
        Failover(upstreams, Tokens(NodeKey.new()), limits), attempts, limits, "auto", keepalive_s,
        lambda way, whole: resumed.append((way.value, whole)),
    )  # fmt: skip

    async def answer(inbound: Inbound) -> None:
        call = await Call.read(inbound, CHAT, BodyLimits(), keep_fields=False)
        await resuming.answer(inbound, call, lambda: ([player.candidate() for player in players],))

    async with contextlib.AsyncExitStack() as exits:
        for player in players:
            exits.push_async_callback(player.rest)
            server = await asyncio.start_server(player.play, "127.0.0.1", 0)
            exits.callback(server.close)
            player.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        bound, stop = asyncio.get_running_loop().create_future(), asyncio.Event()
        path = "/v1/chat/completions"
        task = asyncio.create_task(
            serve(
                make_app([], body_limit_bytes=1000), "127.0.0.1", 0, api=Api({path: answer}), stop=stop,
                on_ready=lambda _, port: bound.set_result(port), linger_s=0,
            )
        )  # fmt: skip
        try:
            url = f"http://127.0.0.1:{await asyncio.wait_for(bound, 90)}{path}"
            yield Scene(url, balance, list(players), resumed)
        finally:
            stop.set()
            await task
            upstreams.close()


def text_of(read: bytes) -> str:
    """What a client reads of an answer's bytes."""
    payloads = [chunks.events.payload(event) for event in chunks.split(read)[0]]
    parsed = [orjson.loads(payload) for payload in payloads if payload and payload != b"[DONE]"]
    return "".join(c["delta"].get("content") or "" for each in parsed for c in each.get("choices", ()))
