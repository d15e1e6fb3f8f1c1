"""How many tokens each model reads, writes and finds in its cache, counted at the ends of answers.

An answer is watched as it passes: its last bytes are kept, and read once, when it has ended. Only events are counted on
the way, so that a long stream shows while it runs, and one that was cut short counts at all: about one token each. Not
here: what the last bytes say (usage), what the generic proxy carries, and who shows the sums (health, metrics).
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from node.telemetry.usage import Usage, usage_of
from relay.answer import EVENT_STREAM, Answer
from relay.endpoints import CHAT, COMPLETIONS, EMBEDDINGS, MESSAGES, RERANK, RESPONSES
from relay.wire.flow import Sink
from relay.wire.through import Through

WINDOW_S = 60
_HEAD_BYTES = 4 * 1024  # where embeddings and Messages say what the prompt was
_TAIL_BYTES = 8 * 1024
_HELD_BYTES = 4 * _TAIL_BYTES  # so that few pieces are ever copied
# Events without a token at the beginning and at the end of each API's streams.
_FRAMES = {CHAT.name: (1, 2), COMPLETIONS.name: (0, 2), RESPONSES.name: (4, 4), MESSAGES.name: (2, 3)}
_COUNTED = frozenset({*_FRAMES, EMBEDDINGS.name, RERANK.name})


@dataclass(frozen=True)
class Rates:
    """Of one model. Tokens since the start, `prompt_tokens` with those that were cached; `tokens_per_s` are generated
    ones over the last `WINDOW_S`; `cache_hit_ratio` is of the prompts of which the engine said it, None without any."""

    prompt_tokens: int = 0
    generated_tokens: int = 0
    cached_tokens: int = 0
    tokens_per_s: float = 0.0
    cache_hit_ratio: float | None = None


class Throughput:
    """All models of this node. `now` gives seconds of a clock that is never set."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._sums: dict[str, _Sums] = {}

    def __repr__(self) -> str:
        return f"<Throughput {self._sums}>"

    def observed(self, answer: Answer, model: str, endpoint: str, asked_at: float) -> Answer:
        """The answer, to be used in its place; its tokens count for the model when its context is left.

        `asked_at` is when it was asked for, by this clock: nothing of it was generated earlier.
        """
        if endpoint not in _COUNTED:
            return answer
        sums = self._sums.setdefault(model, _Sums())
        began = self._now() if answer.streamed else asked_at
        events = answer.headers().get("Content-Type", "").startswith(EVENT_STREAM)
        tally = Tally(began, _FRAMES.get(endpoint, (0, 0)) if events else None)
        sums.running.add(tally)

        def ended(whole: bool) -> None:
            sums.running.discard(tally)
            sums.count(tally.usage(whole), tally.began, self._now())

        return Observed(answer, tally, ended)

    def of(self, model: str) -> Rates:
        """What is known of a model by now."""
        sums = self._sums.get(model)
        return sums.rates(self._now()) if sums else Rates()


class Tally:
    """One answer as it passes. `frame`: events without a token at its beginning and end; None if it has no events."""

    __slots__ = ("_frame", "_head", "_mark", "_pieces", "_size", "began", "events")

    def __init__(self, began: float, frame: tuple[int, int] | None) -> None:
        self.began = began
        self.events = 0
        self._frame = frame
        self._head = b""
        self._mark = b""
        self._pieces: list[bytes] = []
        self._size = 0

    def __repr__(self) -> str:
        return f"<Tally events={self.events} held={self._size}>"

    def feed(self, piece: bytes) -> None:
        """The next bytes: what is done here is done for each token of each stream."""
        self.events += piece.count(self._mark or self._find_mark(piece))
        self._pieces.append(piece)
        self._size += len(piece)
        if self._size > _HELD_BYTES:
            self._cut()

    @property
    def written(self) -> int:
        """Tokens that have passed, about."""
        return max(0, self.events - self._frame[0]) if self._frame else 0

    def usage(self, whole: bool) -> Usage:
        """What the engine said. Where it did not, or could not: what it was seen to write."""
        if self._frame and self._size > _TAIL_BYTES:
            self._cut()
        texts = [b"".join(self._pieces), self._head]
        said = usage_of(texts, events=self._frame is not None)
        if whole and said.generated is not None:
            return said
        seen = max(0, self.written - self._frame[1]) if whole and self._frame else self.written
        return Usage(said.prompt, max(seen, said.generated or 0), said.cached)

    def _find_mark(self, piece: bytes) -> bytes:
        """What stands between two events, and cannot stand in one: JSON writes a line's end as `\\n`."""
        self._mark = b"\n\r\n" if b"\r\n" in piece else b"\n\n"
        return self._mark

    def _cut(self) -> None:
        """Keep the last bytes, and the very first."""
        held = b"".join(self._pieces)
        self._head = self._head or held[:_HEAD_BYTES]
        self._pieces = [held[-_TAIL_BYTES:]]
        self._size = len(self._pieces[0])


class Observed:
    """An answer whose bytes a tally sees as they pass. `ended` is told whether they came to their end."""

    def __init__(self, answer: Answer, tally: Tally, ended: Callable[[bool], None]) -> None:
        self._answer = answer
        self._tally = tally
        self._ended = ended
        self._whole = not answer.streamed
        self.first = answer.first
        self.status = answer.status
        self.streamed = answer.streamed
        self.length = answer.length
        self.quiet_s = answer.quiet_s
        if self._whole:
            tally.feed(self.first)

    def __repr__(self) -> str:
        return f"<Observed {self._answer!r} {self._tally!r}>"

    def headers(self) -> dict[str, str]:
        return self._answer.headers()

    async def pieces(self) -> AsyncIterator[bytes]:
        if not self.streamed:
            yield self.first
            return
        feed = self._tally.feed
        async for piece in self._answer.pieces():
            feed(piece)
            yield piece
        self._whole = True

    async def flow(self, sink: Sink) -> None:
        if not self.streamed:
            sink.write(self.first)
            return
        await self._answer.flow(Through(sink, self._tally.feed))
        self._whole = True

    def close(self) -> None:
        self._answer.close()

    async def __aenter__(self) -> Self:
        await self._answer.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._ended(self._whole)
        finally:
            await self._answer.__aexit__(kind, error, trace)


@dataclass
class _Sums:
    """One model's. `asked` are the prompt tokens of answers that say how many of them were cached."""

    prompt: int = 0
    generated: int = 0
    cached: int = 0
    asked: int = 0
    by_second: dict[int, float] = field(default_factory=dict)
    running: set[Tally] = field(default_factory=set)

    def count(self, usage: Usage, began: float, ended: float) -> None:
        """One answer, which has ended."""
        self.prompt += usage.prompt or 0
        self.generated += usage.generated or 0
        if usage.cached is not None:
            self.cached += usage.cached
            self.asked += usage.prompt or 0
        if usage.generated:
            self._spread(usage.generated, max(began, ended - (usage.seconds or ended - began)), ended)

    def rates(self, now: float) -> Rates:
        recent = sum(tokens for second, tokens in self.by_second.items() if second > now - WINDOW_S)
        recent += sum(_recent(tally, now) for tally in self.running)
        ratio = self.cached / self.asked if self.asked else None
        return Rates(self.prompt, self.generated, self.cached, recent / WINDOW_S, ratio)

    def _spread(self, tokens: int, began: float, ended: float) -> None:
        """Over the seconds in which they were made; those before the window are forgotten."""
        for second in [second for second in self.by_second if second <= ended - WINDOW_S]:
            del self.by_second[second]
        took = ended - began
        if took <= 0:
            self.by_second[int(ended)] = self.by_second.get(int(ended), 0.0) + tokens
            return
        for second in range(int(max(began, ended - WINDOW_S)), int(ended) + 1):
            part = min(second + 1, ended) - max(second, began)
            self.by_second[second] = self.by_second.get(second, 0.0) + tokens * part / took


def _recent(tally: Tally, now: float) -> float:
    """Tokens of an answer that still runs, as many as fall into the window."""
    took = now - tally.began
    return tally.written * min(1.0, WINDOW_S / took) if took > 0 else float(tally.written)
