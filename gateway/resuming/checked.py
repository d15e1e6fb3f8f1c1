"""The sink before a client's that lets only whole, sound events pass, and remembers what they said.

Its hot path is one event like the last one but for its text. Not here: the rest of a broken answer (rest).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from math import inf
from typing import NoReturn

from gateway.resuming import events
from gateway.resuming.events import Parsed
from gateway.resuming.said import TEXTS, Said
from relay.errors import ApiError, Reset, UpstreamTimeout
from relay.wire.flow import Sink
from relay.wire.through import Before

ENDS_WITHIN_S = 2.0  # once every choice has its finish_reason, nothing but usage and the mark of the end may come
_TAIL_BYTES = 4096
_NONE = b"\xff"  # no event begins so
_QUOTE, _ESCAPE = b'"', b"\\"
_MARKED = "surrogateescape"


class Checked(Before):
    """`on_finished` is called when all but the end of the stream has been told. `tail` are the last events. `quiet_s`:
    for so long comments and empty events alone count as a sign of life, once anything was said.

    `write` raises ApiError for what is not to be passed on; what came before it has been.
    """

    __slots__ = (
        "_after", "_before", "_main", "_on_finished", "_part", "_quiet_s", "_spoke_at", "_tokens", "said", "tail"
    )  # fmt: skip

    def __init__(self, sink: Sink, said: Said, on_finished: Callable[[], None], quiet_s: float = inf) -> None:
        super().__init__(sink)
        self.said = said
        self.tail = b""
        self._main = said.main
        self._before = _NONE  # all of an event before its text, once one was seen, and after it
        self._after = b""
        self._part = bytearray()  # of an event whose end has not come
        self._quiet_s = quiet_s
        self._spoke_at = time.monotonic()  # as far as it has been looked at
        self._tokens = said.tokens  # that were told then
        self._on_finished = on_finished

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.said!r}>"

    def write(self, piece: bytes) -> None:
        """The stream's next bytes, never empty: what is done here is done for each token of each stream."""
        before, after = self._before, self._after
        if piece.startswith(before) and piece.endswith(after) and not self._part:
            text = piece[len(before) : -len(after)]
            # What is not UTF-8 becomes a surrogate, and no surrogate and no control character is printable.
            if text and _QUOTE not in text and _ESCAPE not in text and text.decode("utf-8", _MARKED).isprintable():
                self._main += text
                self.said.tokens += 1
                write = self._write  # cheaper than to call the slot
                write(piece)
                return
        self._take(piece)

    def end(self) -> None:
        """No more will come. Raises Reset where something is missing but the mark of the end, which is written."""
        if self.said.done:
            return
        if not self.said.finished:
            raise Reset("The upstream's stream ended before it was complete.", code="upstream_broken")
        self.said.done = True
        self._write(events.DONE_EVENT)

    def _take(self, piece: bytes) -> None:
        finished, spoke = self.said.finished, not self.said.anything
        passed: list[bytes] = []
        try:
            for event in events.gather(self._part, piece):
                if not self.said.done:
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
        elif now - self._spoke_at > (ENDS_WITHIN_S if finished else self._quiet_s):
            raise UpstreamTimeout("The upstream gave signs of life, and nothing else.", code="gap_timeout")

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
        if rest.startswith(text + _QUOTE) and key not in rest and not ({_QUOTE[0], _ESCAPE[0]} & set(text)):
            self._before, self._after = head + key, rest[len(text) :]


def _unfinished() -> NoReturn:
    raise Reset("The upstream's stream ended without a reason.", code="upstream_broken")


def is_final(error: ApiError) -> bool:
    """Whether an error in the midst of a stream is the client's own, and no other node would do better."""
    return 400 <= error.status < 500 and error.status != 429
