"""A streamed answer as bench.relay's clients read it: when its text begins, how much came, and whether it is sound.

A token is an event with text. One that comes alone, as nearly all do, is counted without a parser; every event of
another kind is looked at, so that no error and no answer cut short passes for a good one. Not here: connections and
clocks (relay_load).
"""

from __future__ import annotations

from typing import Any

import orjson

_EVENT, _TEXT, _EMPTY = b"data:", b'"content":"', b'"content":""'
_QUOTE = 0x22
_EVENT_END, _END_ALONE = b"\n\n", b"\n\n\r\n"
_LINE = b"\r\n"  # stands in no event: what is framing is found by it
_LAST = b"0"
_DONE = b"[DONE]"
_FRAMING_BYTES = 16


class Unsound(Exception):
    """An answer that is not what was asked for; the text says how, in a few words."""


class Reading:
    """One answer of which `asked` tokens are due. `tokens` have come; `ended` once it is whole and as it should be."""

    __slots__ = (
        "_alone", "_asked", "_done", "_finished", "_headed", "_inside", "_part", "_raw", "_usual", "ended", "tokens"
    )  # fmt: skip

    def __init__(self, asked: int) -> None:
        self.tokens = 0
        self.ended = False
        self._asked = asked
        self._headed = False
        self._raw = b""  # framing that is not whole
        self._inside = False  # a chunk
        self._part = b""  # of an event
        self._usual = 0  # no two events are shorter
        self._alone = 0  # the same, while the next event can come alone
        self._finished = self._done = False

    def __repr__(self) -> str:
        return f"<Reading {self.tokens} of {self._asked}{' ended' if self.ended else ''}>"

    def feed(self, data: bytes) -> int:
        """The answer's next bytes; how many tokens they brought. Raises Unsound."""
        if (
            len(data) < self._alone
            and data.endswith(_END_ALONE)
            and data.count(_EVENT) == 1
            and (at := data.find(_TEXT)) > 0
            and data[at + len(_TEXT)] != _QUOTE
        ):
            self.tokens += 1
            return 1
        before = self.tokens
        self._read(self._raw + data)
        return self.tokens - before

    def _read(self, data: bytes) -> None:
        self._raw = b""
        if not self._headed:
            data = self._after_head(data)
        if self._headed:
            self._take(self._part + self._unframed(data))
            if self.ended:
                self._check()
            calm = not (self._inside or self._raw or self._part)
            self._alone = self._usual if calm else 0

    def _after_head(self, data: bytes) -> bytes:
        if len(data) >= 12 and data[9:12] != b"200":
            raise Unsound(f"status {data[9:12].decode(errors='replace')}")
        head, end, rest = data.partition(_LINE + _LINE)
        if not end:
            self._raw = data
            return b""
        if b"\r\ntransfer-encoding: chunked" not in head.lower():
            raise Unsound("not chunked")
        self._headed = True
        return rest

    def _unframed(self, data: bytes) -> bytes:
        """What stands in the chunks."""
        half = data[-1:] if data.endswith(b"\r") else b""
        parts = data.removesuffix(b"\r").split(_LINE)  # sizes and payloads by turns
        sizes, payloads = parts[self._inside :: 2], parts[not self._inside :: 2]
        self._inside = (len(parts) % 2 == 0) is not self._inside
        if not self._inside:
            self._raw = sizes.pop()
            self.ended = sizes[-1:] == [_LAST]
        elif sizes[-1:] == [_LAST]:  # its end alone is missing
            self._inside = False
            self._raw = _LAST + _LINE
        self._raw += half
        if (self.ended and self._raw) or _LAST in sizes[:-1]:
            raise Unsound("bytes behind its end")
        return b"".join(payloads)

    def _take(self, text: bytes) -> None:
        end = text.rfind(_EVENT_END) + len(_EVENT_END)
        if end < len(_EVENT_END):
            self._part = text
            return
        whole, self._part = text[:end], text[end:]
        count = whole.count(_EVENT)
        if self.tokens and count == whole.count(_TEXT) and _EMPTY not in whole:
            self.tokens += count
            return
        for event in whole.split(_EVENT_END):
            self._take_event(event)

    def _take_event(self, event: bytes) -> None:
        """Beside others than tokens, or the first."""
        if self.tokens and event.startswith(_EVENT) and _TEXT in event and _EMPTY not in event:
            self.tokens += 1
            return
        lines = event.splitlines()
        payload = b"\n".join(line[5:].strip() for line in lines if line.startswith(b"data:"))
        if any(line.startswith((b"event: error", b"error:")) for line in lines):
            raise Unsound("an error event")
        if payload and self._done:
            raise Unsound("more behind [DONE]")
        if payload == _DONE:
            self._done = True
        elif payload and self._speaks(_parsed(payload)):
            self.tokens += 1
            self._usual = self._usual or len(event) * 3 // 2 + _FRAMING_BYTES

    def _speaks(self, parsed: dict[str, Any]) -> bool:
        """Whether an event has text."""
        choices = parsed.get("choices") or ()
        self._finished = self._finished or any(choice.get("finish_reason") for choice in choices)
        return any((choice.get("delta") or {}).get("content") for choice in choices)

    def _check(self) -> None:
        """At the answer's end."""
        if not self._done or self._part:
            raise Unsound("ended without [DONE]")
        if not self._finished:
            raise Unsound("ended without a finish_reason")
        if self.tokens != self._asked:
            raise Unsound(f"{'fewer' if self.tokens < self._asked else 'more'} tokens than asked for")


def _parsed(payload: bytes) -> dict[str, Any]:
    try:
        parsed = orjson.loads(payload)
    except orjson.JSONDecodeError:
        parsed = None
    if not isinstance(parsed, dict):
        raise Unsound("an event that is no JSON object")
    if parsed.get("error") is not None or parsed.get("object") == "error":
        raise Unsound("an error event")
    return parsed
