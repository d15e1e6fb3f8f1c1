"""Everything that a node can do to an answer, by name; a step of a script is `{"do": NAME, ...its options}`.

A fault gets the connection and the reply as it should be, and writes what it likes. To add one: a function here, and
its name in `FAULTS`. Not here: streams that break after their first event (breaks), when which fault is played (node),
and what the reply says (engine).
"""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import orjson

from tests.misbehaving.asking import Asking
from tests.misbehaving.breaks import breaks
from tests.misbehaving.engine import DONE
from tests.misbehaving.framings import FRAMINGS
from tests.misbehaving.wire import STREAM, Wire

_COMMENT_S = 0.2


async def fine(wire: Wire, asking: Asking, framing: str = "events") -> None:
    """As llama-server answers; other framings are unusual, and right all the same."""
    if not asking.streamed:
        await wire.whole(200, asking.whole)
        return
    await wire.head(more={"Cache-Control": "no-cache"})
    for piece in FRAMINGS[framing](asking.reply.events()):
        await wire.chunk(piece)
        await asyncio.sleep(0)
    await wire.end()


async def status(
    wire: Wire,
    _: Asking,
    status: int = 500,
    message: str = "the node says why",
    code: str | None = None,
    retry_after: str | None = None,
) -> None:
    """Any status, with OpenAI's envelope."""
    error = {"message": message, "type": "any", "param": None, "code": code}
    more = {} if retry_after is None else {"Retry_After": retry_after}
    await wire.whole(status, orjson.dumps({"error": error}), **more)


async def html(wire: Wire, _: Asking, status: int = 502) -> None:
    """What a proxy in between says."""
    page = b"<html><head><title>Bad Gateway</title></head><body>nginx</body></html>"
    await wire.whole(status, page, "text/html")


async def redirect(wire: Wire, _: Asking) -> None:
    await wire.whole(307, b"", Location="http://127.0.0.1:9/v1/chat/completions")


async def reset(wire: Wire, _: Asking, after: str = "request") -> None:
    """RST: after the request, in the middle of the head, after it, or after the head of a chunk."""
    begun = {"request": b"", "half": b"HTTP/1.1 200 O", "head": _STREAM_HEAD, "chunk": _STREAM_HEAD + b"ff\r\n"}
    await wire.raw(begun[after])
    await wire.reset()


async def closed(wire: Wire, _: Asking, after: str = "request") -> None:
    """FIN: after the request, in the middle of the head, or after it."""
    await wire.raw({"request": b"", "half": b"HTTP/1.1 200 O", "head": _STREAM_HEAD}[after])
    wire.close()


async def silent(wire: Wire, asking: Asking, after: str = "request") -> None:
    """Nothing more: after the request, in the middle of the head, after it, or after the role."""
    role = asking.reply.events()[0]
    begun = {
        "request": b"",
        "half": b"HTTP/1.1 200 O",
        "head": _STREAM_HEAD,
        "role": _STREAM_HEAD + b"%x\r\n%b\r\n" % (len(role), role),
    }
    await wire.raw(begun[after])
    await wire.held()


async def comments(wire: Wire, asking: Asking, then: str = "for ever", count: int = 3) -> None:
    """Signs of life instead of tokens, for ever or before a good stream."""
    await wire.head()
    left = count
    while then == "for ever" or left:
        await wire.chunk(b": still thinking\n\n")
        await asyncio.sleep(_COMMENT_S)
        left -= 1
    for event in asking.reply.events():
        await wire.chunk(event)
    await wire.end()


async def empty(wire: Wire, asking: Asking, what: str = "nothing") -> None:
    """A stream that is over before its first token: without a byte, or only its role, or only its end."""
    if what == "no content":
        await wire.raw(b"HTTP/1.1 204 No Content\r\n\r\n")
        return
    if not asking.streamed:
        await wire.whole(200, b"")
        return
    await wire.head()
    if what != "nothing":
        await wire.chunk(DONE if what == "done" else asking.reply.events()[0])
    await wire.end()


async def body(wire: Wire, _: Asking, text: str = "", kind: str = "application/json") -> None:
    """200, and something that is no answer."""
    await wire.whole(200, text.encode(), kind)


async def unstreamed(wire: Wire, asking: Asking) -> None:
    """The whole answer in one, though a stream was asked for."""
    await wire.whole(200, asking.whole)


async def untyped(wire: Wire, asking: Asking) -> None:
    """A good stream that does not say that it is one."""
    await wire.whole(200, b"".join(asking.reply.events()), "text/plain")


async def short(wire: Wire, asking: Asking, then: str = "closed") -> None:
    """An answer that is not streamed, and breaks off in its midst."""
    await wire.head(200, "application/json", len(asking.whole))
    await wire.raw(asking.whole[: len(asking.whole) // 2])
    if then == "silent":
        await wire.held()
    elif then == "reset":
        await wire.reset()
    else:
        wire.close()


async def compressed(wire: Wire, asking: Asking) -> None:
    """Though nobody said that this would be understood."""
    kind = STREAM if asking.streamed else "application/json"
    await wire.whole(200, gzip.compress(asking.whole), kind, Content_Encoding="gzip")


async def raw(wire: Wire, _: Asking, text: str = "") -> None:
    """Bytes that are no HTTP, or too much of it."""
    await wire.raw(text.encode("latin-1"))
    wire.close()


async def endless_head(wire: Wire, _: Asking) -> None:
    """Fields without an end."""
    await wire.raw(b"HTTP/1.1 200 OK\r\n")
    while True:
        await wire.raw(b"X-More: " + b"x" * 4000 + b"\r\n")


async def interim(wire: Wire, asking: Asking) -> None:
    """Interim responses before the good one."""
    await wire.raw(b"HTTP/1.1 103 Early Hints\r\nLink: </x>; rel=preload\r\n\r\n" * 2)
    await fine(wire, asking)


async def late(wire: Wire, asking: Asking, seconds: float, then: dict[str, Any]) -> None:
    """Nothing for a while, and then what is in `then`: as after a long prompt."""
    await asyncio.sleep(seconds)
    await FAULTS[then["do"]](wire, asking, **{name: value for name, value in then.items() if name != "do"})


async def no_prefill(wire: Wire, asking: Asking) -> None:
    """An engine that cannot continue a message says so; it answers anything else."""
    if asking.continues:
        await status(wire, asking, 400, "the last message is the assistant's", "invalid_messages")
    else:
        await fine(wire, asking)


_STREAM_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
FAULTS: Mapping[str, Callable[..., Awaitable[None]]] = {
    each.__name__: each
    for each in (
        fine, status, html, redirect, reset, closed, silent, comments, empty, body, unstreamed, untyped, short,
        compressed, raw, endless_head, interim, late, no_prefill, breaks,
    )
}  # fmt: skip
