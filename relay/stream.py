"""Ask an upstream, and relay what it answers, byte for byte, in two steps.

`ask` returns once the upstream has really answered: its head and first bytes for a stream, everything for the rest, so
that until then another upstream can still be asked. `relay` then lets the bytes flow to the client. An answer that
breaks after its first byte never looks complete: it gets an error event where there is one, and no end. Not here: the
connections (wire).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from relay.answer import EVENT_STREAM, Answer, Relayed
from relay.call import Call
from relay.errors import ApiError, BadUpstream, Reset
from relay.events import Dialect, Ending
from relay.limits import Limits
from relay.wire.heads import media_type, question_head
from relay.wire.inbound import Inbound
from relay.wire.origin import Origin
from relay.wire.upstreams import Upstreams

STREAMING = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}


async def ask(
    upstreams: Upstreams, origin: Origin, path: str, call: Call, headers: Mapping[str, str], limits: Limits
) -> Relayed:
    """Send the call's body to `path` there and wait for an answer, whatever its status.

    Raises ConnectFailed (the upstream did not see the request), Reset (it may have), UpstreamTimeout (silence).
    """
    sent = {
        "Content-Type": call.content_type,
        "Content-Length": str(call.size),
        "X-Request-Id": call.request_id,
        "Accept-Encoding": "identity",
        **headers,
    }
    if not origin.keep:
        sent["Connection"] = "close"
    head = question_head(path, origin.authority, sent)
    may_repeat = call.endpoint.retry_after_silence
    answer = Relayed(await upstreams.send(origin, head, call.payload(), limits, may_repeat=may_repeat), limits)
    try:
        await answer.begin(call.endpoint.flows)
    except BaseException:
        answer.close()
        raise
    return answer


async def relay(
    inbound: Inbound,
    answer: Answer,
    call: Call,
    headers: Mapping[str, str] | None = None,
    early: EarlyStream | None = None,
    broke: Callable[[ApiError], None] | None = None,
) -> bytes:
    """Carry a good answer to the client. `headers` are added to the few that come back from the upstream.

    Where the client's stream has begun already, `early`, the answer goes on with it. `broke` is told of an answer that
    breaks in its midst. Returns the answer's last bytes,
    where they are at hand: there engines say what it took.
    """
    named = answer.headers()
    events = call.endpoint.events if _is_event_stream(named) else None
    if early is not None and early.begun:
        if events is None:
            early.fail(BadUpstream("The upstream did not answer with a stream.", code="upstream_broken"))
            return b""
    else:
        named.update(headers or ())
        if not answer.streamed:
            inbound.respond(answer.status, named, answer.first)
            return answer.first
        if events is None:
            inbound.begin(answer.status, named, answer.length)
        else:  # without a length: an error may have to follow
            inbound.begin(answer.status, {**STREAMING, **named}, None)
    return await _carry(inbound, answer, events, broke)


async def _carry(
    inbound: Inbound, answer: Answer, events: Dialect | None, broke: Callable[[ApiError], None] | None
) -> bytes:
    ending = None if events is None or events.end is None else Ending(events, inbound, answer.quiet_s)
    try:
        if ending is None:
            await answer.flow(inbound)
        else:
            await answer.flow(ending)
            if not ending.whole:
                raise Reset("The upstream's stream ended before it was complete.", code="upstream_broken")
    except ApiError as error:
        if broke is not None:
            broke(error)
        if events is None:
            inbound.break_off()
        else:
            inbound.fail(b"\n\n" + events.error(error))
    else:
        inbound.end()
    return b"" if ending is None else ending.tail


class EarlyStream:
    """A stream that begins before its answer is there, with comments that keep the connection open.

    Whoever has begun it must end it by `relay` or by `fail`.
    """

    def __init__(self, inbound: Inbound, events: Dialect) -> None:
        self._inbound = inbound
        self._events = events
        self.begun = False

    def __repr__(self) -> str:
        return f"<EarlyStream {'begun' if self.begun else 'not begun'}>"

    async def comment(self, text: str) -> None:
        """Raises ConnectionError where the client is gone."""
        if not self.begun:
            self.begun = True
            self._inbound.begin(200, {"Content-Type": EVENT_STREAM, **STREAMING}, None)
        self._inbound.write(f": {text}\n\n".encode())
        await self._inbound.room()

    def fail(self, error: ApiError) -> None:
        """End it with an error event and without its end. Raises the error where nothing was begun."""
        if not self.begun:
            raise error
        self._inbound.fail(b"\n\n" + self._events.error(error))


def _is_event_stream(headers: Mapping[str, str]) -> bool:
    return media_type(headers.get("Content-Type", "")) == EVENT_STREAM
