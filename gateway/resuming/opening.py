"""The first token of a stream: until it is there, another node can be asked and nobody has seen anything.

Not here: what follows (telling).
"""

from __future__ import annotations

import time

import orjson

from gateway.resuming import events
from gateway.resuming.events import Parsed
from relay.answer import Limits, Relayed
from relay.errors import Reset, UpstreamTimeout

_PRELUDES = (
    "response.created", "response.queued", "response.in_progress", "response.output_item.added",
    "response.content_part.added", "message_start", "content_block_start", "ping",
)  # fmt: skip


async def opened(answer: Relayed, limits: Limits, asked_at: float) -> None:
    """Until the first token stands in `answer.first`, or comments alone do: whoever sends those asks for patience.

    Raises ApiError: what the node said was wrong, or that it is no stream, ended or was silent.
    """
    while not is_open(answer.first) and not is_patience(answer.first):
        left_s = limits.first_token_s - (time.monotonic() - asked_at)
        try:
            more = left_s > 0 and await answer.more(left_s)
        except UpstreamTimeout:
            left_s, more = 0.0, False
        if left_s <= 0:
            raise too_late()
        if not more:
            raise _never_begun()


def is_open(first: bytes) -> bool:
    """Whether a token, a call or an end is among these events. Raises ApiError for an error, and for garbage."""
    whole, _ = events.split(first)
    for event in whole:
        payload = events.payload(event)
        if payload is None:
            continue
        if payload.strip() == events.DONE:
            raise _never_begun()
        if _tells(events.parse(payload)):
            return True
    return False


def _tells(parsed: Parsed) -> bool:
    """Whether an event says more than that an answer will come. Raises ApiError for one that tells of a failure."""
    kind = parsed.get("type")
    if isinstance(kind, str):  # an event of the responses' or the messages' API
        if kind == "response.failed":
            failed = parsed.get("response")
            told = failed.get("error") if isinstance(failed, dict) else None
            raise events.error_of(told or {}, orjson.dumps({"error": told or {}}))
        return kind not in _PRELUDES
    for _, choice, delta in events.choices_of(parsed):
        told = any(value not in (None, "", []) for name, value in delta.items() if name != "role")
        if told or choice.get("finish_reason") is not None:
            return True
    return False


def is_patience(first: bytes) -> bool:
    """Whether these are comments, whole ones, and nothing else."""
    whole, part = events.split(first)
    return bool(whole) and not part and all(event.startswith(b":") and events.payload(event) is None for event in whole)


def _never_begun() -> Reset:
    return Reset("The upstream's stream ended before it began.", code="upstream_broken")


def too_late() -> UpstreamTimeout:
    return UpstreamTimeout("The upstream did not come to its first token in time.", code="first_token_timeout")
