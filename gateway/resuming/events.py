"""Events of a chat or completion stream: where each ends, and what it holds. Pure.

Not here: what they come to together (said), and passing them on (checked).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import orjson

from relay.errors import ApiError, BadUpstream, from_upstream

DONE = b"[DONE]"
DONE_EVENT = b"data: [DONE]\n\n"
_LIMIT_BYTES = 4 * 1024 * 1024  # of one event
_END = re.compile(rb"\r\n\r\n|\n\n|\r\r")
_STATUSES = {  # by `type`, where an error does not say its status
    "invalid_request_error": 400,
    "exceed_context_size_error": 400,
    "rate_limit_error": 429,
    "unavailable_error": 503,
    "timeout_error": 504,
}

Parsed = dict[str, Any]


def split(data: bytes) -> tuple[list[bytes], bytes]:
    """Whole events, each with its empty line, and what has begun. Raises BadUpstream for one without an end."""
    found, at = [], 0
    for end in _END.finditer(data):
        found.append(data[at : end.end()])
        at = end.end()
    rest = data[at:]
    if len(rest) > _LIMIT_BYTES:
        raise garbage("an event has no end")
    return found, rest


def payload(event: bytes) -> bytes | None:
    """What an event says; None for a comment."""
    said = [line[5:].removeprefix(b" ") for line in event.splitlines() if line.startswith(b"data:")]
    return b"\n".join(said) or None


def parse(said: bytes) -> Parsed:
    """An event's JSON. Raises BadUpstream for anything else, and the error that it tells."""
    try:
        parsed = orjson.loads(said)
    except orjson.JSONDecodeError as error:
        raise garbage("an event is not JSON") from error
    if not isinstance(parsed, dict):
        raise garbage("an event is not a JSON object")
    if parsed.get("error") is not None:
        raise error_of(parsed["error"], said)
    return parsed


def choices_of(parsed: Parsed) -> Iterator[tuple[int, Parsed, Parsed]]:
    """(index, choice, delta) of each; a completion's text is its delta. Raises BadUpstream for other shapes."""
    choices = parsed.get("choices")
    if choices is None:
        return
    if not isinstance(choices, list):
        raise garbage("'choices' is not a list")
    for choice in choices:
        if not isinstance(choice, dict):
            raise garbage("a choice is not an object")
        index, delta = choice.get("index", 0), choice.get("delta")
        if not isinstance(index, int):
            raise garbage("a choice's 'index' is not a number")
        if delta is None:
            delta = {"text": choice["text"]} if "text" in choice else {}
        if not isinstance(delta, dict):
            raise garbage("a choice's 'delta' is not an object")
        yield index, choice, delta


def written(parsed: Parsed) -> bytes:
    """An event of ours."""
    return b"data: " + orjson.dumps(parsed) + b"\n\n"


def garbage(what: str) -> BadUpstream:
    """What comes is no stream of events."""
    return BadUpstream(f"The upstream's stream is not valid: {what}.", code="upstream_garbage")


def error_of(error: Any, said: bytes) -> ApiError:
    """The error that an upstream tells in the place of an answer. Its own code counts, where it is an HTTP status."""
    kind = error if isinstance(error, dict) else {}
    status = kind.get("code")
    if not isinstance(status, int) or not 400 <= status < 600:
        status = _STATUSES.get(str(kind.get("type")), 502)
    told = from_upstream(status, said)
    if kind.get("type") == "exceed_context_size_error":
        told.code = "context_length_exceeded"
    return told
