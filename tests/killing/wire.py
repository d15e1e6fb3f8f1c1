"""What passed over a crossing, read as HTTP: requests, and the answers to them as server-sent events with their times.

Not here: what they should have been.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import httptools
import orjson

from tests.killing.crossing import Crossing, Passage, Piece


@dataclass(frozen=True)
class Event:
    """One line of a stream: a comment, or what `data:` carried (None for `[DONE]`)."""

    at: float
    data: Any = None
    comment: str | None = None

    @property
    def text(self) -> str:
        """What it adds to the answer."""
        if not isinstance(self.data, dict):
            return ""
        return "".join(choice["delta"].get("content") or "" for choice in self.data.get("choices", ()))


@dataclass
class Exchange:
    """A request's body and the answer, as far as it came. `whole`: it came to its end."""

    asked: Any
    at: float
    status: int = 0
    pieces: list[Piece] = field(default_factory=list)
    whole: bool = False

    @property
    def events(self) -> list[Event]:
        """Lines that came whole."""
        found, rest = [], b""
        for at, piece in self.pieces:
            *lines, rest = (rest + piece).split(b"\n")
            found += [_event(at, line.rstrip()) for line in lines if line.startswith((b":", b"data:"))]
        return found

    @property
    def text(self) -> str:
        return "".join(event.text for event in self.events)


def exchanges(crossing: Crossing) -> list[Exchange]:
    """All that passed, in the order in which it was asked."""
    found = [exchange for passage in crossing.passages for exchange in _read(passage)]
    return sorted(found, key=lambda exchange: exchange.at)


def _read(passage: Passage) -> list[Exchange]:
    asked = _messages(httptools.HttpRequestParser, passage.asked)
    answered = _messages(httptools.HttpResponseParser, passage.answered)
    found = []
    for number, request in enumerate(asked):
        exchange = Exchange(_json(request.pieces), request.at)
        if number < len(answered):
            answer = answered[number]
            exchange.status, exchange.pieces, exchange.whole = answer.status, answer.pieces, answer.whole
        found.append(exchange)
    return found


def _json(pieces: Sequence[Piece]) -> Any:
    raw = b"".join(piece for _, piece in pieces)
    return orjson.loads(raw) if raw else None


def _event(at: float, line: bytes) -> Event:
    if line.startswith(b":"):
        return Event(at, comment=line[1:].strip().decode())
    carried = line.removeprefix(b"data:").strip()
    return Event(at, data=None if carried == b"[DONE]" else orjson.loads(carried))


@dataclass
class _Message:
    at: float
    status: int = 0
    pieces: list[Piece] = field(default_factory=list)
    whole: bool = False


class _Reading:
    """The parser's calls."""

    def __init__(self) -> None:
        self.messages: list[_Message] = []
        self.at = 0.0
        self.parser: Any = None

    def on_message_begin(self) -> None:
        self.messages.append(_Message(self.at))

    def on_headers_complete(self) -> None:
        if isinstance(self.parser, httptools.HttpResponseParser):
            self.messages[-1].status = self.parser.get_status_code()

    def on_body(self, piece: bytes) -> None:
        self.messages[-1].pieces.append((self.at, piece))

    def on_message_complete(self) -> None:
        self.messages[-1].whole = True


def _messages(parser: Any, pieces: Iterable[Piece]) -> list[_Message]:
    reading = _Reading()
    reading.parser = parser(reading)
    for reading.at, piece in pieces:
        reading.parser.feed_data(piece)
    return reading.messages
