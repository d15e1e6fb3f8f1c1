"""A node of bad manners, as a program of its own: it proves its key as the protocol says, then misbehaves.

It records every request it gets as a JSON line (path, headers, body) in a file. `--mode` says how it answers:
`fine` answers well, `headers` adds headers that no client should see, `redirect` sends every request elsewhere, `moved`
all but the challenge, `dribble` answers piece by piece, `silent` never answers, `reset` closes the connection; `fail`,
`busy`, `away`, `refuse` and `forbid` answer with the statuses below; of a stream, `cut` breaks off the connection,
`undone` ends it in order but before its end, `stall` falls silent in its midst.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
from pathlib import Path

from aiohttp import web
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

ANSWER = {
    "id": "chatcmpl-rogue",
    "object": "chat.completion",
    "created": 1,
    "model": "whatever",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "rogue"}}],
}
UNWANTED = {
    "Set-Cookie": "session=stolen",
    "Location": "http://elsewhere.example/",
    "Access-Control-Allow-Origin": "*",
    "Strict-Transport-Security": "max-age=31536000",
    "Server": "rogue",
    "X-Request-Id": "rogue-id",
    "Waypost-Node": "somebody-else",
    "X-Something": "else",
}


STATUSES = {"fail": 500, "busy": 429, "away": 503, "refuse": 400, "forbid": 401}
HALF = {
    **ANSWER,
    "choices": [{"index": 0, "delta": {"content": "half an answer: data: [DONE]"}, "finish_reason": None}],
}
END = {**ANSWER, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
DONE = b"data: [DONE]\n\n"


class Rogue:
    def __init__(self, key: Ed25519PrivateKey, mode: str, record: Path, elsewhere: str) -> None:
        self._key = key
        self._mode = mode
        self._record = record
        self._elsewhere = elsewhere

    async def challenge(self, request: web.Request) -> web.StreamResponse:
        if self._mode == "redirect":
            raise web.HTTPTemporaryRedirect(self._elsewhere + request.path)
        asked = await request.json()
        message = "\n".join(("waypost challenge v1", asked["nonce"], asked["url"], "-", asked["gateway"]))
        answer = {"signature": _b64(self._key.sign(message.encode()))}
        if self._mode == "dribble":
            return await _dribble(request, json.dumps(answer).encode())
        return web.json_response(answer)

    async def call(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        line = {"path": request.path, "headers": sorted(request.headers.items()), "body": body.decode()}
        with self._record.open("a") as file:
            file.write(json.dumps(line) + "\n")
        if self._mode in ("redirect", "moved"):
            raise web.HTTPFound(self._elsewhere)
        if self._mode == "silent":
            await asyncio.sleep(3600)
        if self._mode == "reset":
            assert request.transport is not None
            request.transport.abort()
        if self._mode in STATUSES:
            error = {"message": f"rogue {self._mode}", "code": STATUSES[self._mode], "param": "messages"}
            return web.json_response({"error": error}, status=STATUSES[self._mode])
        if self._mode in ("cut", "undone", "stall"):
            return await self._break_off(request)
        if self._mode == "dribble":
            return await _dribble(request, json.dumps(ANSWER).encode())
        if json.loads(body).get("stream"):
            return await _stream(request)
        return web.json_response(ANSWER, headers=UNWANTED if self._mode == "headers" else None)

    async def _break_off(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(b"data: " + json.dumps(HALF).encode() + b"\n\n")
        if self._mode == "stall":
            await asyncio.sleep(3600)
        if self._mode == "cut":
            assert request.transport is not None
            request.transport.close()
        return response


async def _stream(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    said = b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in (HALF, END))
    await response.write(said + DONE)
    return response


async def _dribble(request: web.Request, answer: bytes) -> web.StreamResponse:
    """Every byte in a packet of its own."""
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    await response.prepare(request)
    for at in range(len(answer)):
        await response.write(answer[at : at + 1])
        await asyncio.sleep(0.001)
    return response


def _b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--key", required=True, help="hex of the Ed25519 private key")
    parser.add_argument("--mode", default="headers")
    parser.add_argument("--record", type=Path, required=True)
    parser.add_argument("--elsewhere", default="http://127.0.0.1:9")
    given = parser.parse_args()
    key = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(given.key))
    public = _b64(key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))
    rogue = Rogue(key, given.mode, given.record, given.elsewhere)
    app = web.Application()
    app.router.add_post("/.well-known/waypost/challenge", rogue.challenge)
    app.router.add_post("/v1/{path:.*}", rogue.call)
    print(f"rogue node {public} listens", flush=True)
    web.run_app(app, host="127.0.0.1", port=given.port, print=None, shutdown_timeout=0.1, handler_cancellation=True)


if __name__ == "__main__":
    main()
