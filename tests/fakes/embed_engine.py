"""An engine of somebody else's, as a program: `POST /embed` as text-embeddings-inference speaks it, and paths that show
how a request arrived and answer in every manner. `python embed_engine.py` prints its port.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import gzip
import hashlib
import os

import orjson
from aiohttp import WSCloseCode, WSMsgType, web

from relay.http import Handler

PIECE = b"x" * 65536


class Engine:
    """What it has seen: `asked` requests, of which `open` have not ended; `sent` bytes of floods."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.open = 0
        self.sent = 0

    def app(self) -> web.Application:
        @web.middleware
        async def record(request: web.Request, handler: Handler) -> web.StreamResponse:
            if request.path in ("/health", "/v1/models", "/seen"):
                return await handler(request)
            self.asked.append(f"{request.method} {request.raw_path}")
            self.open += 1
            try:
                return await handler(request)
            finally:
                self.open -= 1

        app = web.Application(middlewares=[record], client_max_size=1 << 30)
        app.add_routes(
            [
                web.get("/health", lambda _: _json({"status": "ok"})),
                web.get("/seen", lambda _: _json({"asked": self.asked, "open": self.open, "sent": self.sent})),
                web.post("/embed", embed),
                web.route("*", "/echo{rest:.*}", echo),
                web.post("/sum", add_up),
                web.post("/both", both_ways),
                web.get("/hold", hold),
                web.get("/cut", cut),
                web.get("/flood", self.flood),
                web.get("/moved", moved),
                web.get("/packed", packed),
                web.get("/events", events),
                web.route("*", "/status/{status}", status),
                web.route("*", "/drop", drop),
                web.get("/ws", talk),
                web.post("/secret", lambda _: _json({"secret": True})),
            ]
        )
        return app

    async def flood(self, request: web.Request) -> web.StreamResponse:
        """As many pieces as are asked for, as fast as they are taken."""
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(int(request.query["pieces"])):
            await response.write(PIECE)
            self.sent += len(PIECE)
        return response


async def _json(value: object, status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(value), status=status, content_type="application/json")


async def embed(request: web.Request) -> web.StreamResponse:
    """A vector for each input; the errors are TEI's."""
    body = orjson.loads(await request.read())
    inputs = body.get("inputs")
    inputs = [inputs] if isinstance(inputs, str) else inputs
    if not inputs:
        return await _json({"error": "`inputs` cannot be empty", "error_type": "Validation"}, 422)
    return await _json([[float(byte) for byte in hashlib.sha256(text.encode()).digest()[:4]] for text in inputs])


async def echo(request: web.Request) -> web.StreamResponse:
    """The request as it arrived."""
    body = await request.read()
    seen = {"method": request.method, "target": request.raw_path, "headers": _headers(request)}
    answer = await _json({**seen, "body": base64.b64encode(body).decode()})
    answer.headers.update({"Set-Cookie": "a=b", "Location": "/", "Access-Control-Allow-Origin": "*", "X-Own": "1"})
    return answer


def _headers(request: web.Request) -> dict[str, str]:
    return {str(name): value for name, value in request.headers.items()}


async def add_up(request: web.Request) -> web.StreamResponse:
    """Digest and size of a body of any length."""
    digest, size = hashlib.sha256(), 0
    async for piece in request.content.iter_any():
        digest.update(piece)
        size += len(piece)
    return await _json({"size": size, "sha256": digest.hexdigest()})


async def both_ways(request: web.Request) -> web.StreamResponse:
    """Every piece of the body goes back as it comes."""
    response = web.StreamResponse()
    await response.prepare(request)
    async for piece in request.content.iter_any():
        await response.write(piece.upper())
    return response


async def hold(request: web.Request) -> web.StreamResponse:
    """Begins, and never ends."""
    response = web.StreamResponse()
    await response.prepare(request)
    await response.write(b"begun")
    await asyncio.Event().wait()
    return response


async def cut(request: web.Request) -> web.StreamResponse:
    """Breaks off in its midst."""
    response = web.StreamResponse()
    await response.prepare(request)
    await response.write(b"half an ans")
    assert request.transport is not None
    request.transport.close()
    return response


async def moved(_: web.Request) -> web.StreamResponse:
    raise web.HTTPFound("/secret")


async def packed(_: web.Request) -> web.StreamResponse:
    return web.Response(body=gzip.compress(b"{}"), headers={"Content-Encoding": "gzip"})


async def events(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    for number in range(3):
        await response.write(f"data: {number}\n\n".encode())
    return response


async def status(request: web.Request) -> web.StreamResponse:
    return await _json({"error": {"message": "so it is", "code": "odd"}}, int(request.match_info["status"]))


async def drop(request: web.Request) -> web.StreamResponse:
    """Closes the connection without a word."""
    await request.read()
    assert request.transport is not None
    request.transport.close()
    return web.Response()


async def talk(request: web.Request) -> web.StreamResponse:
    """Echoes messages. `close CODE WORD` closes, `long N` sends N letters, `vanish` drops the connection, `last words`
    are answered by `goodbye` when the client closes."""
    socket = web.WebSocketResponse(protocols=["echo.v2", "echo.v1"], max_msg_size=1 << 26, autoclose=False)
    await socket.prepare(request)
    last_words = False
    async for message in socket:
        if message.type is WSMsgType.BINARY:
            await socket.send_bytes(message.data[::-1])
            continue
        words = message.data.split()
        if words[:1] == ["close"]:
            await socket.close(code=int(words[1]), message=words[2].encode())
        elif words[:1] == ["long"]:
            await socket.send_str("x" * int(words[1]))
        elif words == ["vanish"]:
            assert request.transport is not None
            request.transport.abort()
        elif words == ["who"]:
            await socket.send_json({"headers": _headers(request), "target": request.raw_path})
        else:
            last_words = words == ["last", "words"]
            await socket.send_str(message.data.upper())
    if last_words and not socket.closed:
        await socket.send_str("goodbye")
    with contextlib.suppress(ConnectionError):
        await socket.close(code=socket.close_code or WSCloseCode.OK)
    return socket


async def main() -> None:
    runner = web.AppRunner(Engine().app(), handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", int(os.environ.get("PORT", "0")))
    await site.start()
    print(f"port={runner.addresses[0][1]}.", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
