"""A synthetic engine for bench.relay: chat completions as llama-server writes them, for as little CPU as can be.

`max_tokens` of a request says how many tokens its stream has, each an event with text, `seed` how many milliseconds lie
between two (0: none, as fast as they are taken); the role and the first token come at once, in one chunk. A request
without `"stream": true` gets a small answer. It proves its key to gateways as a published node does. It prints one line
of JSON once it listens. Not here: who asks (relay_load).
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import re
import ssl
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import cast

import orjson
import uvloop

from bench.relay_load import SMALL_TEXT
from bench.relay_wheel import Wheel
from gateway.challenge import PATH
from registry.keys import NodeKey
from registry.signing import challenge_message

_LENGTH = re.compile(rb"\r\n[Cc]ontent-[Ll]ength: *(\d+)")
_CHUNKED = re.compile(rb"\r\n[Tt]ransfer-[Ee]ncoding: *chunked")
_CLOSE = re.compile(rb"\r\n[Cc]onnection: *close")
_STREAM = re.compile(rb'"stream": ?true')
_TOKENS = re.compile(rb'"max_tokens": ?(\d+)')
_PACE = re.compile(rb'"seed": ?(\d+)')
_WORDS = (" the", " way", " stands", " where", " two", " roads", " meet", " and", " shows", " it", ".", " A", " sign")
_COMMON = {"created": 1795226868, "model": "smollm2-135m-instruct", "system_fingerprint": "b6987-1a2b3c4d5"}
_ID = "chatcmpl-7rNQ0dWmFkSxkv1zCLaGb3JtY8hPuE2o"
_USAGE = {"completion_tokens": 250, "prompt_tokens": 31, "total_tokens": 281}
_TIMINGS = {"cache_n": 0, "prompt_n": 31, "prompt_ms": 54.7, "predicted_n": 250, "predicted_ms": 4980.2}
_STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\nServer: llama.cpp\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
)
_STREAM_END = b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n"


def _event(delta: dict[str, object], finish: str | None = None, **more: object) -> bytes:
    """One server-sent event, some 250 bytes."""
    choice = {"finish_reason": finish, "index": 0, "delta": delta}
    chunk = {"choices": [choice], **_COMMON, "id": _ID, "object": "chat.completion.chunk", **more}
    return b"data: " + orjson.dumps(chunk) + b"\n\n"


def _chunk(*events: bytes) -> bytes:
    joined = b"".join(events)
    return b"%x\r\n%b\r\n" % (len(joined), joined)


def _small(value: object) -> bytes:
    body = orjson.dumps(value)
    head = "HTTP/1.1 200 OK\r\nServer: llama.cpp\r\nContent-Type: application/json; charset=utf-8\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


_FIRST = _chunk(_event({"role": "assistant", "content": None}), _event({"content": "A"}))
_TOKEN = [_chunk(_event({"content": word})) for word in _WORDS]
_LAST = _chunk(_event({}, "stop", usage=_USAGE, timings=_TIMINGS)) + _STREAM_END
_MESSAGE = {"role": "assistant", "content": SMALL_TEXT}
_ANSWER = _small({
    "choices": [{"finish_reason": "stop", "index": 0, "message": _MESSAGE}], **_COMMON, "object": "chat.completion",
    "usage": _USAGE, "id": _ID, "timings": _TIMINGS,
})  # fmt: skip
_HEALTH = _small({"status": "ok"})
_MODELS = _small({"object": "list", "data": []})


class Stream:
    """One answer being written. `step` is called when its next token is due."""

    __slots__ = ("_done", "_full", "_left", "_pace_ms", "_paused", "_wheel", "_write")

    def __init__(
        self, write: Callable[[bytes], None], wheel: Wheel, tokens: int, pace_ms: int, done: Callable[[], None]
    ) -> None:
        self._write, self._wheel, self._pace_ms, self._done = write, wheel, pace_ms, done
        self._left = max(tokens, 1) - 1  # the first is written here
        self._paused = False
        self._full = False
        write(_STREAM_HEAD + _FIRST)
        wheel.add(self, pace_ms)

    def step(self) -> None:
        if self._full:
            self._paused = True
            return
        if self._left <= 0:
            self._write(_LAST)
            self._done()
            return
        self._left -= 1
        self._write(_TOKEN[self._left % len(_TOKEN)])
        self._wheel.add(self, self._pace_ms)

    def hold(self) -> None:
        self._full = True

    def go_on(self) -> None:
        self._full = False
        if self._paused:
            self._paused = False
            self._wheel.add(self, 0)

    def drop(self) -> None:
        """Nobody reads it any more."""
        self._left, self._write, self._done = 0, _nothing, _nothing


def _nothing(*_: object) -> None:
    return


class Engine(asyncio.Protocol):
    """One connection: requests one after the other, each read whole before it is answered."""

    def __init__(self, wheel: Wheel, prove: Callable[[bytes], bytes]) -> None:
        self._wheel = wheel
        self._prove = prove
        self._read = b""
        self._closes = False
        self._stream: Stream | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are none by name

    def connection_lost(self, exc: Exception | None) -> None:
        if self._stream is not None:
            self._stream.drop()

    def pause_writing(self) -> None:
        if self._stream is not None:
            self._stream.hold()

    def resume_writing(self) -> None:
        if self._stream is not None:
            self._stream.go_on()

    def data_received(self, data: bytes) -> None:
        self._read = data = self._read + data if self._read else data
        head_end = data.find(b"\r\n\r\n")
        if head_end < 0:
            return
        head = data[: head_end + 2]
        end = _body_end(data, head, head_end + 4)
        if end is None:
            return
        self._read = data[end:]
        self._closes = _CLOSE.search(head) is not None
        self._answer(head, data[head_end + 4 : end])

    def _answer(self, head: bytes, body: bytes) -> None:
        if head.startswith(b"GET"):
            return self._say(_MODELS if b"/models" in head[: head.find(b"\r\n")] else _HEALTH)
        if PATH.encode() in head[: head.find(b"\r\n")]:
            return self._say(self._prove(body))
        if _STREAM.search(body) is None:
            return self._say(_ANSWER)
        tokens, pace = _TOKENS.search(body), _PACE.search(body)
        count, pace_ms = int(tokens[1]) if tokens else 16, int(pace[1]) if pace else 0
        self._stream = Stream(self._transport.write, self._wheel, count, pace_ms, self._ended)
        return None

    def _say(self, answer: bytes) -> None:
        self._transport.write(answer)
        self._ended()

    def _ended(self) -> None:
        self._stream = None
        if self._closes:
            self._transport.close()
        elif self._read:
            self.data_received(b"")


def _body_end(data: bytes, head: bytes, start: int) -> int | None:
    """Where the body ends, None if it is not all there. A chunked one need not be decoded for what is looked for."""
    if length := _LENGTH.search(head):
        end = start + int(length[1])
        return end if len(data) >= end else None
    if _CHUNKED.search(head):
        end = data.find(b"0\r\n\r\n", start)
        return None if end < 0 else end + 5
    return start


def _prove(key: NodeKey, spki: str | None, asked: bytes) -> bytes:
    told = orjson.loads(asked)
    pin = spki if told["url"].startswith("https:") else None
    return _small({"signature": key.sign(challenge_message(told["nonce"], told["url"], pin, told["gateway"]))})


async def serve(certificate: Path, spki: str, key: NodeKey) -> None:
    """Listen in the clear and with TLS, on free ports, until standard input ends."""
    loop = asyncio.get_running_loop()
    make = partial(Engine, Wheel(loop), partial(_prove, key, spki))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate)
    servers = [await loop.create_server(make, "127.0.0.1", 0, backlog=8192, ssl=each) for each in (None, tls)]
    ports = [server.sockets[0].getsockname()[1] for server in servers]
    print(orjson.dumps({"port": ports[0], "tls_port": ports[1]}).decode(), flush=True)
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    await reader.read()


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.relay_upstream", description=__doc__)
    parser.add_argument("--certificate", type=Path, required=True, help="PEM file of a certificate and its key")
    parser.add_argument("--spki", required=True, help="SHA-256 of its public key, in hex")
    parser.add_argument("--node-key", type=Path, required=True, help="file of the key that it proves")
    given = parser.parse_args()
    gc.disable()  # its pauses would be taken for a target's
    uvloop.run(serve(given.certificate, given.spki, NodeKey.load(given.node_key)))


if __name__ == "__main__":
    main()
