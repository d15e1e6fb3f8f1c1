"""The sink before a client's that lets only whole, sound events pass, and remembers what they said.

Its hot path is one event like the last one but for its text. Not here: the rest of a broken answer (rest).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from math import inf
from typing import NoReturn

import orjson

from gateway.resuming import events
from gateway.resuming.events import Parsed
from gateway.resuming.said import TEXTS, Said
from relay.errors import ApiError, Reset
from relay.silence import nothing_else
from relay.wire.flow import Sink
from relay.wire.through import Before

_TAIL_BYTES = 4096
_NONE = b"\xff"  # no event begins so
_NOWHERE = slice(0)


class Checked(Before):
    """`on_finished` is called when all but the end of the stream has been told. `tail` are the last events. `quiet_s`:
    for so long comments and empty events alone count as a sign of life, once anything was said.

    `write` raises ApiError for what is not to be passed on; what came before it has been.
    """

    __slots__ = (
        "_after", "_before", "_main", "_on_finished", "_part", "_quiet_s", "_several_bytes", "_spoke_at", "_text",
        "_tokens", "said", "tail",
    )  # fmt: skip

    def __init__(self, sink: Sink, said: Said, on_finished: Callable[[], None], quiet_s: float = inf) -> None:
        super().__init__(sink)
        self.said = said
        self.tail = b""
        self._main = said.main
        self._before = _NONE  # all of an event to the quote before its text, once one was seen
        self._after = b""  # all from the quote behind it
        self._text = _NOWHERE  # where it is, with both quotes
        self._several_bytes = 0  # no single event is as long, but for those whose text is half of it
        self._part = bytearray()  # of an event whose end has not come
        self._quiet_s = quiet_s
        self._spoke_at = time.monotonic()  # as far as it has been looked at
        self._tokens = said.tokens  # that were told then
        self._on_finished = on_finished

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.said!r}>"

    def write(self, piece: bytes) -> None:
        """The stream's next bytes, never empty: what is done here is done for each token of each stream."""
        if not self._part and self._repeats(piece):
            write = self._write  # cheaper than to call the slot
            write(piece)
        else:
            self._take(piece)

    def end(self) -> None:
        """No more will come. Raises Reset where something is missing but the mark of the end, which is written."""
        if self.said.done:
            return
        if not self.said.finished:
            raise Reset("The upstream's stream ended before it was complete.", code="upstream_broken")
        self.said.done = True
        self._write(events.DONE_EVENT)

    def _repeats(self, piece: bytes) -> bool:
        """Whether these are events that differ from the last one in their text alone; then they have been said."""
        if not (piece.startswith(self._before) and piece.endswith(self._after)):
            return False
        try:
            if len(piece) < self._several_bytes:
                text, tokens = orjson.loads(piece[self._text]), 1
            else:
                texts = _strings(piece[self._text], self._after + self._before)
                text, tokens = "".join(texts) if all(texts) else "", len(texts)
        except ValueError:
            return False  # it is not one string, so that the events are not what they seem
        if not text:
            return False
        self._main += text.encode()
        self.said.tokens += tokens
        return True

    def _take(self, piece: bytes) -> None:
        finished, spoke = self.said.finished, not self.said.anything
        passed: list[bytes] = []
        try:
            for event in events.gather(self._part, piece):
                if self._repeats(event):
                    passed.append(event)
                elif not self.said.done:
                    spoke |= self._take_event(event, passed)
        finally:
            if told := b"".join(passed):
                self._write(told)
        self._heed_silence(finished, spoke or self.said.tokens != self._tokens)

    def _heed_silence(self, finished: bool, spoke: bool) -> None:
        """What keeps a connection open does not keep an answer alive. `finished`: before this piece came."""
        now = time.monotonic()
        if spoke and not finished:
            self._spoke_at, self._tokens = now, self.said.tokens
        elif now - self._spoke_at > (self.said.ends_within_s if finished else self._quiet_s):
            raise nothing_else()

    def _take_event(self, event: bytes, passed: list[bytes]) -> bool:
        """Whether it said anything."""
        payload = events.payload(event)
        if payload is None:
            if events.is_comment(event):
                passed.append(event)
            return False
        if payload.strip() == events.DONE:
            if not self.said.may_be_done:
                _unfinished()
            self.said.done = True
            self._before = _NONE
            passed.append(event)
            self._on_finished()
            return False
        parsed = events.parse(event, payload)
        if parsed.get("choices") is None and parsed.get("usage") is None:
            raise events.garbage("an event has no 'choices'")
        told = self._told(event, parsed)
        passed.append(told)
        if self.said.finished:
            self.tail = (self.tail + told)[-_TAIL_BYTES:]
            self._on_finished()
        return self.said.tokens != self._tokens or events.speaks(parsed)

    def _told(self, event: bytes, parsed: Parsed) -> bytes:
        """What is passed on of an event, which has then been said."""
        self.said.take(parsed)
        self._learn(event, parsed)
        return event

    def _learn(self, event: bytes, parsed: Parsed) -> None:
        """How the next event will look, if it differs in its text alone."""
        choices = parsed.get("choices")
        if not choices or len(choices) != 1 or self.said.exact or event.count(b"\n") != 2:
            return
        choice = choices[0]
        delta = choice if choice.get("delta") is None else choice["delta"]
        name = next((name for name in TEXTS if isinstance(delta.get(name), str) and delta[name]), None)
        if name is None or choice.get("finish_reason") is not None or parsed.get("usage") is not None:
            return
        head, key, rest = event.partition(b'"%b":"' % name.encode())
        text = delta[name].encode()
        if rest.startswith(text + b'"') and key not in rest:
            self._before, self._after = head + key, rest[len(text) :]
            self._text = slice(len(self._before) - 1, 1 - len(self._after))
            self._several_bytes = 2 * len(event)


def _strings(joined: bytes, joint: bytes) -> list[str]:
    """Strings of JSON, the quotes between them part of the joint. Raises ValueError where one is none."""
    return [orjson.loads(b'"%b"' % each) for each in joined[1:-1].split(joint)]


def _unfinished() -> NoReturn:
    raise Reset("The upstream's stream ended without a reason.", code="upstream_broken")


def is_final(error: ApiError) -> bool:
    """Whether an error in the midst of a stream is the client's own, and no other node would do better."""
    return 400 <= error.status < 500 and error.status != 429
