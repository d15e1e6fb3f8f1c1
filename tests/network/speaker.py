"""A quick node without an engine, as a program of its own: it says `word(0) word(1) ...`, a chunk a word, at a pace.

It proves its key as the protocol says. It says as many words as `max_tokens` asks for, goes on from an assistant
message in last place as llama-server does (that text again, within its first chunk), and records every request as a
JSON line. It never misbehaves: here the network does.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from aiohttp import web
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

MODEL = "speaker"
PROMPT_TOKENS = 5  # whatever the prompt is; a text to go on from comes on top
_WORDS = 20  # where the request names no max_tokens


def word(number: int) -> str:
    return f"w{number} "


def text(words: int) -> str:
    """All that it says to a request for that many words."""
    return "".join(word(number) for number in range(words))


class Speaker:
    def __init__(self, key: Ed25519PrivateKey, record: Path, pace_s: float) -> None:
        self._key = key
        self._record = record
        self._pace_s = pace_s

    async def challenge(self, request: web.Request) -> web.StreamResponse:
        asked = await request.json()
        message = "\n".join(("waypost challenge v1", asked["nonce"], asked["url"], "-", asked["gateway"]))
        return web.json_response({"signature": _base64url(self._key.sign(message.encode()))})

    async def health(self, _: web.Request) -> web.StreamResponse:
        return web.json_response({"status": "ok"})

    async def chat(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        with self._record.open("a") as file:
            file.write(json.dumps(body) + "\n")
        if not body.get("stream"):
            message = {"role": "assistant", "content": text(body.get("max_tokens", _WORDS))}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            whole = _object(f"chatcmpl-{uuid.uuid4().hex}", "chat.completion")
            return web.json_response({**whole, "choices": [choice], "usage": _usage(body, 0)})
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for chunk in _chunks(body):
            await response.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")
            await asyncio.sleep(self._pace_s)
        await response.write(b"data: [DONE]\n\n")
        return response


def _chunks(body: dict[str, Any]) -> Iterator[dict[str, Any]]:
    answer = f"chatcmpl-{uuid.uuid4().hex}"
    last = body["messages"][-1]
    said = last["content"] if last["role"] == "assistant" else ""
    first = said.count(" ")
    yield _chunk(answer, {"role": "assistant", "content": None})
    for number in range(first, first + body.get("max_tokens", _WORDS)):
        yield _chunk(answer, {"content": said + word(number)})
        said = ""
    yield _chunk(answer, {}, "stop")
    if (body.get("stream_options") or {}).get("include_usage"):
        yield {**_object(answer, "chat.completion.chunk"), "choices": [], "usage": _usage(body, first)}


def _chunk(answer: str, delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return {**_object(answer, "chat.completion.chunk"), "choices": [choice]}


def _object(answer: str, kind: str) -> dict[str, Any]:
    return {"id": answer, "object": kind, "created": 1, "model": MODEL}


def _usage(body: dict[str, Any], continued: int) -> dict[str, int]:
    said, prompt = body.get("max_tokens", _WORDS), PROMPT_TOKENS + continued
    return {"prompt_tokens": prompt, "completion_tokens": said, "total_tokens": prompt + said}


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--key", required=True, help="hex of the Ed25519 private key")
    parser.add_argument("--record", type=Path, required=True)
    parser.add_argument("--pace-s", type=float, default=0.01)
    given = parser.parse_args()
    speaker = Speaker(Ed25519PrivateKey.from_private_bytes(bytes.fromhex(given.key)), given.record, given.pace_s)
    app = web.Application()
    app.router.add_post("/.well-known/waypost/challenge", speaker.challenge)
    app.router.add_get("/health", speaker.health)
    app.router.add_post("/v1/chat/completions", speaker.chat)
    print("speaker listens", flush=True)
    web.run_app(app, host=given.host, port=given.port, print=None, shutdown_timeout=0.1, handler_cancellation=True)


if __name__ == "__main__":
    main()
