"""Pure: which node has read a conversation so far, so that its next turn goes where the prompt is in the cache.

A conversation is known by what its last two questions end with, and where: each turn of it holds the one before, byte
for byte. Where it has been is remembered; where that is not known, all processes lean to the same node, by what it
begins with. Nobody's name or key is part of it, and nothing but the choice of a node depends on it: where two look
alike, one goes to a node that does not know it. Not here: when a node is too busy for it (balance).
"""

from __future__ import annotations

import re
import zlib
from collections import OrderedDict
from dataclasses import dataclass

from relay.call import Call
from relay.endpoints import CHAT, MESSAGES, RESPONSES

_CHATS = frozenset({CHAT.name, MESSAGES.name, RESPONSES.name})
_MOST_MARKS = 20_000  # about 5 MB
_LEAST_BYTES = 1024  # less is read again in no time
_SEARCHED_BYTES = 1024 * 1024  # from the end on: pictures may be very long
_SYSTEM_BYTES = 64 * 1024  # before a first question
_SAMPLE_BYTES = 256
_WORD = 0xFFFFFFFF
_SPREADING = 0x9E3779B1  # a large prime, so that the highest bits depend on all
_USER = b'"user"'
_FIRST_USER = re.compile(rb'"user"(?!\s*:)')  # searches forwards in half the time that `find` takes
_END = b"}"  # of a question, or a place within its text, which is the same in each turn


@dataclass(frozen=True, slots=True)
class Topic:
    """Marks of a conversation, 32 bits each: of all up to its last question, and up to the one before; and of what it
    begins with."""

    now: int
    before: int | None
    beginning: int


def topic_of(call: object) -> Topic | None:
    """Of a chat, by its JSON as it came; None for any other request, and where it is short or holds no question."""
    if not isinstance(call, Call) or call.endpoint.name not in _CHATS or len(call.body) < _LEAST_BYTES:
        return None
    body = call.body
    start = max(0, len(body) - _SEARCHED_BYTES)
    last = _question(body, start, len(body))
    if last < 0:
        return None
    before, first = _question(body, start, last), _FIRST_USER.search(body, 0, _SYSTEM_BYTES)
    beginning = first.start() if first is not None else min(last, _SYSTEM_BYTES)
    return Topic(_mark(body, last), None if before < 0 else _mark(body, before), _mark(body, beginning))


def leaning(topic: Topic, node: str) -> int:
    """The node for which this is least is the one to begin with: the same in every process, and as often each."""
    return (topic.beginning ^ zlib.crc32(node.encode())) * _SPREADING & _WORD


class Homes:
    """By model and mark; of too many, those that were asked last the longest ago are forgotten."""

    def __init__(self, most: int = _MOST_MARKS) -> None:
        self._most = most
        self._nodes: OrderedDict[tuple[str, int], str] = OrderedDict()

    def __repr__(self) -> str:
        return f"<Homes marks={len(self)}>"

    def __len__(self) -> int:
        return len(self._nodes)

    def of(self, model: str, topic: Topic) -> str | None:
        """The node that was sent this question last, or the one before it."""
        node = self._nodes.get((model, topic.now))
        return node if node is not None or topic.before is None else self._nodes.get((model, topic.before))

    def settle(self, model: str, topic: Topic, node: str) -> None:
        """The conversation goes on there."""
        key = model, topic.now
        self._nodes[key] = node
        self._nodes.move_to_end(key)
        if len(self._nodes) > self._most:
            self._nodes.popitem(last=False)


def _question(body: bytes, start: int, end: int) -> int:
    """Where the last `"user"` between the two begins that is no name of a field; below 0: nowhere."""
    at = body.rfind(_USER, start, end)
    while at >= 0 and body[at + len(_USER) : at + len(_USER) + 2].lstrip()[:1] == b":":
        at = body.rfind(_USER, start, at)
    return at


def _mark(body: bytes, question: int) -> int:
    """Of what a question ends with, and where."""
    end = body.find(_END, question)
    return zlib.crc32(body[max(0, end - _SAMPLE_BYTES) : end], end & _WORD)
