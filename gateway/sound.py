"""Whether what a node answers can be an answer at all. Pure, and before the client has seen any of it.

Not here: the events of a stream (resuming), and errors that a node tells (failover).
"""

from __future__ import annotations

import orjson

from gateway.resuming.events import error_of
from relay.answer import EVENT_STREAM, Relayed
from relay.call import Call
from relay.endpoints import CHAT, COMPLETIONS, Endpoint
from relay.errors import BadUpstream

_WITH_CHOICES = (CHAT, COMPLETIONS)
_READ_BYTES = 256 * 1024  # a longer one is looked at from outside alone


def check(call: Call, answer: Relayed) -> None:
    """Raises BadUpstream for an answer that is no JSON where JSON was asked for, or no stream where one was.

    And the node's own error, where it tells one with a good status.
    """
    if call.endpoint.events.end is None:
        return  # other media, and streams of them
    is_stream = answer.media_type == EVENT_STREAM
    if call.stream != is_stream:
        raise _unsound("did not answer with a stream" if call.stream else "answered with a stream, unasked")
    if not is_stream and not answer.streamed:
        _check_object(answer.first, call.endpoint)


def _check_object(body: bytes, endpoint: Endpoint) -> None:
    if len(body) > _READ_BYTES:
        body = body.strip()
        parsed: object = {} if body[:1] == b"{" and body[-1:] == b"}" else None
    else:
        try:
            parsed = orjson.loads(body)
        except orjson.JSONDecodeError:
            parsed = None
    if not isinstance(parsed, dict):
        raise _unsound("did not answer with a JSON object")
    if endpoint in _WITH_CHOICES and parsed.get("error") is not None and not parsed.get("choices"):
        raise error_of(parsed["error"], body)


def _unsound(what: str) -> BadUpstream:
    return BadUpstream(f"The upstream {what}.", code="upstream_garbage")
