"""The first token of a stream: until it is there, another node can be asked and nobody has seen anything.

Not here: what follows (telling).
"""

from __future__ import annotations

import time

import orjson

from gateway.resuming import events
from gateway.resuming.events import Parsed
from relay.answer import Relayed
from relay.errors import Reset, UpstreamTimeout
from relay.limits import Limits

_LIMIT_BYTES = 4 * 1024 * 1024  # of all that comes before the first token
_PRELUDES = (
    "response.created", "response.queued", "response.in_progress", "response.output_item.added",
    "response.content_part.added", "message_start", "content_block_start", "ping",
)  # fmt: skip


async def opened(answer: Relayed, limits: Limits, asked_at: float) -> None:
    """Until the first token stands in `answer.first`, or comments alone do: whoever sends those asks for patience.

    Raises ApiError: what the node said was wrong, or that it is no stream, ended or was silent.
    """
    opening, seen = Opening(), 0
    while not opening.take(answer.first[seen:]) and not opening.is_patience:
        seen = len(answer.first)
        left_s = limits.first_token_s - (time.monotonic() - asked_at)
        try:
            more = left_s > 0 and await answer.more(left_s)
        except UpstreamTimeout:
            left_s, more = 0.0, False
        if left_s <= 0:
            raise too_late()
        if not more:
            raise _never_begun()


class Opening:
    """What has come of a stream so far, each event looked at once."""

    __slots__ = ("_part", "_quiet", "_size")

    def __init__(self) -> None:
        self._part = bytearray()
        self._size = 0
        self._quiet = True  # nothing but comments has come

    def __repr__(self) -> str:
        return f"<Opening {self._size} bytes{' of comments' if self.is_patience else ''}>"

    @property
    def is_patience(self) -> bool:
        """Whether these are comments, whole ones, and nothing else."""
        return self._quiet and self._size > 0 and not self._part

    def take(self, piece: bytes) -> bool:
        """Whether a token, a call or an end is among the events. Raises ApiError for an error, and for garbage."""
        self._size += len(piece)
        if self._size > _LIMIT_BYTES:
            raise events.garbage("it does not begin")
        for event in events.gather(self._part, piece):
            payload = events.payload(event)
            if payload is None:
                self._quiet = self._quiet and events.is_comment(event)
                continue
            self._quiet = False
            if payload.strip() == events.DONE:
                raise _never_begun()
            if _tells(events.parse(event, payload)):
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
    return events.speaks(parsed)


def _never_begun() -> Reset:
    return Reset("The upstream's stream ended before it began.", code="upstream_broken")


def too_late() -> UpstreamTimeout:
    return UpstreamTimeout("The upstream did not come to its first token in time.", code="first_token_timeout")
