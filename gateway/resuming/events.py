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
_END = re.compile(rb"\n\n")
_ANY_END = re.compile(rb"\n\r?\n|\r\r")  # costs ten times as much
_END_BYTES = 3
_ERROR_EVENT = re.compile(rb"(?:^|[\r\n])event: ?error[\r\n]")
_DATA = b"data: "
_ERROR_LINE = b"error:"  # as llama-server once told of errors
_BOM = b"\xef\xbb\xbf"
_STATUSES = {  # by `type`, where an error does not say its status
    "invalid_request_error": 400,
    "exceed_context_size_error": 400,
    "rate_limit_error": 429,
    "unavailable_error": 503,
    "timeout_error": 504,
}

Parsed = dict[str, Any]


def gather(part: bytearray, piece: bytes) -> list[bytes]:
    """The events that `piece` brings to their end. `part`, an event that has begun, becomes the one that has now.

    Costs what `piece` is long, however long the event. Raises BadUpstream for one without an end.
    """
    if not part and 0 < piece.find(b"\n\n") == len(piece) - 2 and piece.find(b"\r") < 0:
        return [piece]  # as nearly all are
    seen = max(0, len(part) - _END_BYTES)
    part += piece
    found, at = [], 0
    for end in (_END if part.find(b"\r", seen) < 0 else _ANY_END).finditer(part, seen):
        found.append(bytes(part[at : end.end()]))
        at = end.end()
    del part[:at]
    if len(part) > _LIMIT_BYTES:
        raise garbage("an event has no end")
    return found


def payload(event: bytes) -> bytes | None:
    """What an event says; None for a comment, and for one that says nothing."""
    if event.startswith(_DATA) and event.endswith(b"\n\n") and event.count(b"\n") == 2 and event.find(b"\r") < 0:
        return event[len(_DATA) : -2] or None  # as nearly all are
    if event.startswith(_ERROR_LINE):
        return b'{"error":%b}' % event.removeprefix(_ERROR_LINE)
    lines = event.removeprefix(_BOM).splitlines()
    said = [line[5:].removeprefix(b" ") for line in lines if line.startswith(b"data:")]
    return b"\n".join(said) or None


def is_comment(event: bytes) -> bool:
    """Whether an event that says nothing is worth passing on: SDKs read an empty one as broken JSON."""
    return event.removeprefix(_BOM).lstrip(b"\r\n").startswith(b":")


def parse(event: bytes, said: bytes) -> Parsed:
    """An event's JSON, `said`. Raises BadUpstream for anything else, and the error that it tells, however it does."""
    try:
        parsed = orjson.loads(said)
    except orjson.JSONDecodeError as error:
        raise garbage("an event is not JSON") from error
    if not isinstance(parsed, dict):
        raise garbage("an event is not a JSON object")
    if parsed.get("error") is not None:
        raise error_of(parsed["error"], said)
    if parsed.get("object") == "error" or (b"event:" in event and _ERROR_EVENT.search(event)):
        raise error_of(parsed, orjson.dumps({"error": parsed}))
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


def speaks(parsed: Parsed) -> bool:
    """Whether a choice says more than its role, or ends. Raises BadUpstream as `choices_of` does."""
    for _, choice, delta in choices_of(parsed):
        told = any(value not in (None, "", []) for name, value in delta.items() if name != "role")
        if told or choice.get("finish_reason") is not None:
            return True
    return False


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
