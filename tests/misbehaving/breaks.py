"""Streams that break after they have begun: where, and how.

Not here: answers that are wrong from their start (faults).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from tests.misbehaving.asking import Asking
from tests.misbehaving.engine import DONE, event
from tests.misbehaving.wire import Wire

_ENDLESS = b"x" * 65536
_DRIP_S = 0.2


async def breaks(wire: Wire, asking: Asking, how: str = "reset", at: int | str = 5) -> None:
    """A stream is well up to its `at`-th token, or `start`, `finish` (with it), `usage` (with it); then comes
    `how`.

    What is not streamed is answered well.
    """
    if not asking.streamed:
        await wire.whole(200, asking.whole)
        return
    events = asking.reply.events()
    index = {"start": 0, "finish": asking.reply.finish + 1, "usage": len(events) - 1}.get(str(at))
    index = asking.reply.after(int(at)) if index is None else index
    await wire.head()
    for each in events[:index]:
        await wire.chunk(each)
        await asyncio.sleep(0)
    await _HOW[how](wire, events[index])


async def _reset(wire: Wire, _: bytes) -> None:
    await wire.reset()


async def _closed(wire: Wire, _: bytes) -> None:
    wire.close()


async def _ended(wire: Wire, _: bytes) -> None:
    await wire.end()


async def _done(wire: Wire, _: bytes) -> None:
    await wire.chunk(DONE)
    await wire.end()


async def _stalled(wire: Wire, _: bytes) -> None:
    await wire.held()


async def _half(wire: Wire, upcoming: bytes) -> None:
    """Most of an event, and its token with it, but not its end."""
    await wire.chunk(upcoming[:-8])
    await wire.reset()


async def _half_ended(wire: Wire, upcoming: bytes) -> None:
    """An event without the empty line behind it, in a stream that ends in order."""
    await wire.chunk(upcoming[:-8])
    await wire.end()


async def _half_stalled(wire: Wire, upcoming: bytes) -> None:
    await wire.chunk(upcoming[:-8])
    await wire.held()


def _saying(*pieces: bytes) -> Callable[[Wire, bytes], Awaitable[None]]:
    """These events, and then the rest as if nothing were wrong."""

    async def say(wire: Wire, upcoming: bytes) -> None:
        for piece in (*pieces, upcoming, DONE):
            await wire.chunk(piece)
        await wire.end()

    return say


async def _bad_chunk(wire: Wire, _: bytes) -> None:
    await wire.raw(b"zz\r\nno chunk has such a length\r\n")
    await wire.held()


async def _no_chunk_end(wire: Wire, upcoming: bytes) -> None:
    await wire.raw(b"%x\r\n%b" % (len(upcoming), upcoming) + b"instead of a line's end\r\n")
    await wire.held()


async def _endless(wire: Wire, _: bytes) -> None:
    """An event that never ends."""
    await wire.chunk(b'data: {"choices": [{"index": 0, "delta": {"content": "')
    while True:
        await wire.chunk(_ENDLESS)


async def _muttering(wire: Wire, _: bytes) -> None:
    """Comments for ever."""
    while True:
        await wire.chunk(b": one moment\n\n")
        await asyncio.sleep(_DRIP_S)


async def _dripping(wire: Wire, upcoming: bytes) -> None:
    """An event that comes by the byte, and so slowly that it will not end."""
    for at in range(len(upcoming)):
        await wire.chunk(upcoming[at : at + 1])
        await asyncio.sleep(_DRIP_S)


_ERROR = {"error": {"message": "the engine gave up", "type": "server_error", "param": None, "code": 500}}
_REFUSAL = {"error": {"message": "this is not to be said", "type": "invalid_request_error", "code": "content_filter"}}
_HOW: Mapping[str, Callable[[Wire, bytes], Awaitable[None]]] = {
    "reset": _reset,
    "closed": _closed,
    "ended": _ended,
    "done": _done,
    "stalled": _stalled,
    "half": _half,
    "half ended": _half_ended,
    "half stalled": _half_stalled,
    "malformed": _saying(b'data: {"choices": [{"index": 0, "delta": {"content": \n\n'),
    "not json": _saying(b"data: <html>gateway timeout</html>\n\n"),
    "no object": _saying(b"data: [1, 2]\n\n"),
    "no choices": _saying(b'data: {"id": "chatcmpl-1", "object": "chat.completion.chunk"}\n\n'),
    "utf8": _saying(b'data: {"choices": [{"index": 0, "delta": {"content": "\xc3\x28\xff"}}]}\n\n'),
    "bad chunk": _bad_chunk,
    "no chunk end": _no_chunk_end,
    "endless": _endless,
    "muttering": _muttering,
    "dripping": _dripping,
    "error": _saying(event(_ERROR)),
    "refused": _saying(event(_REFUSAL)),
    "error text": _saying(b'data: {"error": "out of memory"}\n\n'),
    "error object": _saying(b'data: {"object": "error", "message": "out of memory", "code": 500}\n\n'),
    "error named": _saying(b'event: error\ndata: {"message": "out of memory"}\n\n'),
    "error line": _saying(b'error: {"code": 500, "message": "slot unavailable"}\n\n'),
}
