"""An OpenAI-compatible engine that is nobody's child, and strict: it knows one model and one key, and keeps what came.

`python -m tests.fakes.openai_engine --port P --model NAME [--key KEY] [--tls CERT KEY] [--loading]` prints a line when
it listens. What it does is told by the last word of the prompt (of a form: by its field `prompt`):

    busy    429 with Retry-After        cut     a stream without its end
    fail    500                         reset   no answer
    full    503 with Retry-After        hold    no answer either, and no end
    moved   302                         leak    400 that repeats the key
    old, detail, list    400 and 422 as other servers word them

`GET /_seen` tells of each request: method, path, headers, body (base64).
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import re
import signal
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import orjson
from aiohttp import web

Answering = Callable[[web.Request], Awaitable[web.StreamResponse]]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--model", required=True)
    parser.add_argument("--key")
    parser.add_argument("--tls", nargs=2)
    parser.add_argument("--loading", action="store_true")
    known = parser.parse_args()
    asyncio.run(_serve(OpenaiEngine(known.model, known.key, known.loading), known.port, known.tls))


async def _serve(engine: OpenaiEngine, port: int, tls: list[str] | None) -> None:
    context = None
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*tls)
    runner = web.AppRunner(engine.app(), handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, ssl_context=context).start()
    print(f"listening on {runner.addresses[0][1]}.", flush=True)
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    await ended.wait()
    await runner.cleanup()


@dataclass
class OpenaiEngine:
    """What it knows, and what it has seen."""

    model: str
    key: str | None
    loading: bool
    seen: list[dict[str, Any]] = field(default_factory=list)

    def app(self) -> web.Application:
        app = web.Application(middlewares=[self._strict], client_max_size=1 << 30)
        app.add_routes(
            [
                web.get("/health", self._health),
                web.get("/v1/models", self._models),
                web.post("/v1/chat/completions", self._chat),
                web.post("/v1/embeddings", self._embeddings),
                web.post("/v1/audio/transcriptions", self._transcription),
                web.post("/embed", self._embed),
                web.get("/_seen", self._told),
            ]
        )
        return app

    @web.middleware
    async def _strict(self, request: web.Request, handler: Answering) -> web.StreamResponse:
        if request.path.startswith("/_"):
            return await handler(request)
        body = await request.read()
        if request.path not in ("/health", "/v1/models"):
            told = {"method": request.method, "path": request.path, "body": base64.b64encode(body).decode()}
            self.seen.append(told | {"headers": [[name, value] for name, value in request.headers.items()]})
        if self.key and request.path != "/health" and request.headers.get("Authorization") != f"Bearer {self.key}":
            return _error(401, f"Incorrect API key; the right one is {self.key}, from {request.host}")
        return await handler(request)

    async def _health(self, _: web.Request) -> web.Response:
        return web.json_response({"status": "loading"} if self.loading else {}, status=503 if self.loading else 200)

    async def _models(self, _: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": [{"id": self.model, "object": "model"}]})

    async def _told(self, _: web.Request) -> web.Response:
        return web.json_response(self.seen)

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        if (unknown := self._unknown(body.get("model"))) is not None:
            return unknown
        word = body["messages"][-1]["content"].split()[-1]
        if (odd := await self._odd(request, word)) is not None:
            return odd
        if body.get("stream"):
            return await self._stream(request, whole=word != "cut")
        message = {"role": "assistant", "content": "Yes."}
        return web.json_response({"model": self.model, "choices": [{"index": 0, "message": message}]})

    async def _stream(self, request: web.Request, whole: bool) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for word in ("Yes", ", ", "indeed"):
            event = {"model": self.model, "choices": [{"index": 0, "delta": {"content": word}}]}
            await response.write(b"data: " + orjson.dumps(event) + b"\n\n")
        if not whole:
            _hang_up(request)
            return response
        end = {"model": self.model, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
        await response.write(b"data: " + orjson.dumps(end) + b"\n\ndata: [DONE]\n\n")
        return response

    async def _embeddings(self, request: web.Request) -> web.Response:
        body = await request.json()
        if (unknown := self._unknown(body.get("model"))) is not None:
            return unknown
        inputs = body["input"] if isinstance(body["input"], list) else [body["input"]]
        data = [{"object": "embedding", "index": at, "embedding": [1.0, 0.0]} for at in range(len(inputs))]
        return web.json_response({"object": "list", "model": self.model, "data": data})

    async def _embed(self, request: web.Request) -> web.Response:
        """As text-embeddings-inference speaks; it asks for no model."""
        return web.json_response([[1.0, float(len(text))] for text in (await request.json())["inputs"]])

    async def _transcription(self, request: web.Request) -> web.StreamResponse:
        """Says which fields came, in their order."""
        fields = [(name, len(value) if name == "file" else value.decode()) for name, value in await _parts(request)]
        told = dict(fields)
        if (unknown := self._unknown(told.get("model"))) is not None:
            return unknown
        if (odd := await self._odd(request, str(told.get("prompt", "")))) is not None:
            return odd
        return web.json_response({"text": "Yes.", "fields": fields})

    def _unknown(self, model: object) -> web.Response | None:
        return None if model == self.model else _error(404, f"The model {model!r} does not exist.")

    async def _odd(self, request: web.Request, word: str) -> web.Response | None:
        """What is answered in place of an answer."""
        if word == "reset":
            _hang_up(request)
        elif word == "hold":
            await asyncio.Event().wait()
        return {
            "busy": _error(429, "Slow down.", {"Retry-After": "7"}),
            "fail": _error(500, f"The worker at {request.host} failed."),
            "full": _error(503, "No room.", {"Retry-After": "9"}),
            "moved": web.Response(status=302, headers={"Location": "http://127.0.0.1:1/"}),
            "old": web.json_response({"object": "error", "message": "Too long.", "code": 400}, status=400),
            "detail": web.json_response({"detail": "Too odd."}, status=422),
            "list": web.json_response({"detail": [{"loc": ["body", "top_p"], "msg": "is not good"}]}, status=422),
            "leak": _error(400, f"I know {self.key}."),
        }.get(word)


async def _parts(request: web.Request) -> list[tuple[str, bytes]]:
    """Name and content of each part, in their order."""
    delimiter = b"--" + re.split(r'boundary="?([^";]+)', request.headers["Content-Type"])[1].encode()
    found = []
    for part in (await request.read()).split(delimiter)[1:-1]:
        head, _, content = part.partition(b"\r\n\r\n")
        found.append((re.split(rb'[; ]name="([^"]*)', head)[1].decode(), content.removesuffix(b"\r\n")))
    return found


def _error(status: int, message: str, headers: dict[str, str] | None = None) -> web.Response:
    body = {"error": {"message": message, "type": "engine_error", "param": None, "code": None}}
    return web.json_response(body, status=status, headers=headers)


def _hang_up(request: web.Request) -> None:
    assert request.transport is not None
    request.transport.close()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
