"""A client with the official library, one stream at a time, whose bytes are heard beside it as they came.

The library hides comments and times, so it goes through a crossing of its own. Not here: what the answers should be.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from openai import AsyncOpenAI

from tests.killing.crossing import Crossing
from tests.killing.host import MODEL
from tests.killing.wire import Event, exchanges

_LIMIT_S = 120.0
_RETOKENISED = 3
_WAYS = {"resumed by replay": "replay", "resumed by continuing": "continue"}  # as the comment at a join begins


@dataclass(frozen=True)
class Join:
    """Where another node went on: the text so far, and what the change cost in seconds beside a usual gap."""

    way: str
    text: str
    added_s: float


@dataclass
class Heard:
    """One answer as the client saw it; `events` as they came over the wire."""

    node: str = ""
    text: str = ""
    pieces: int = 0  # chunks with text
    finish: str | None = None
    ids: set[str] = field(default_factory=set)
    generated: int | None = None  # tokens, as `usage` says, if it came
    prompt: int | None = None
    error: str = ""
    events: list[Event] = field(default_factory=list)

    def text_of(self, tokens: int) -> str:
        """The first so many pieces, each of which is a token."""
        return "".join([event.text for event in self.events if event.text][:tokens])

    @property
    def joins(self) -> list[Join]:
        found, text = [], ""
        for number, event in enumerate(self.events):
            text += event.text
            way = _way(event.comment or "")
            if way is not None:
                found.append(Join(way, text, self._pause_s(number)))
        return found

    def _pause_s(self, at: int) -> float:
        """Between the text before and behind that event, less the usual gap of this stream."""
        times = [event.at for event in self.events if event.text]
        gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
        before = [event.at for event in self.events[:at] if event.text]
        behind = next((event.at for event in self.events[at:] if event.text), None)
        if behind is None or not before:
            return 0.0
        return behind - before[-1] - statistics.median(gaps)

    @property
    def _retokenised(self) -> int:
        """How many tokens the text so far may be counted more or fewer where another node has read it."""
        return sum(_RETOKENISED for join in self.joins if join.way == "continue")

    def fault(self, whole: Heard | None, tokens: int) -> str:
        """Why this is no whole answer, or nothing. `whole`: one to the same request, if it should be the same text."""
        if self.error or self.finish != "length":
            return f"ended with {self.finish} after {self.pieces} pieces: {self.error or 'no error'}"
        if len(self.ids) != 1:
            return f"ids {self.ids}"
        if self.generated is None or self.prompt is None:  # it died with the node, when all text had been told
            return "" if self.pieces == tokens else f"no usage, and {self.pieces} pieces where {tokens} tokens were due"
        if self.generated != tokens:
            return f"usage says {self.generated} tokens of {tokens}"
        if whole is not None and abs(self.prompt - (whole.prompt or 0)) > self._retokenised:
            return f"usage says {self.prompt} tokens of prompt, where the uninterrupted answer had {whole.prompt}"
        return ""


def _way(comment: str) -> str | None:
    return next((way for begin, way in _WAYS.items() if comment.startswith(begin)), None)


class Caller:
    """Its crossing and its client live from `open` to `close`."""

    def __init__(self, crossing: Crossing, settings: Mapping[str, Any]) -> None:
        self._crossing = crossing
        self._settings = settings
        base_url = f"http://127.0.0.1:{crossing.port}/v1"
        self._client = AsyncOpenAI(base_url=base_url, api_key="any key does", max_retries=0, timeout=_LIMIT_S)

    @classmethod
    async def open(cls, gateway_port: int, settings: Mapping[str, Any]) -> Caller:
        return cls(await Crossing.open(gateway_port), settings)

    async def close(self) -> None:
        await self._client.close()
        await self._crossing.close()

    async def ask(self, prompt: str, on_piece: Callable[[Heard], None] = lambda _: None, **settings: Any) -> Heard:
        """Read an answer to its end, or to its error. `on_piece` is called at each piece of text.

        `settings` are fields of this request beside the caller's own.
        """
        heard = Heard()
        self._crossing.forget()
        try:
            await self._read(heard, prompt, on_piece, settings)
        except Exception as error:  # whatever it is, the client did not get its answer
            heard.error = repr(error)
        last = exchanges(self._crossing)[-1]
        heard.events = last.events
        if not heard.error and last.text != heard.text:
            heard.error = "the client understood another text than came over the wire"
        return heard

    async def _read(
        self, heard: Heard, prompt: str, on_piece: Callable[[Heard], None], settings: Mapping[str, Any]
    ) -> None:
        messages = [{"role": "user", "content": prompt}]
        usage = {"include_usage": True}
        stream = await self._client.chat.completions.create(
            model=MODEL, messages=messages, stream=True, stream_options=usage, **self._settings, **settings
        )
        heard.node = stream.response.headers["Waypost-Node"]
        async for chunk in stream:
            heard.ids.add(chunk.id)
            if chunk.usage is not None:
                heard.prompt, heard.generated = chunk.usage.prompt_tokens, chunk.usage.completion_tokens
            for choice in chunk.choices:
                heard.finish = choice.finish_reason or heard.finish
                if choice.delta.content:
                    heard.text += choice.delta.content
                    heard.pieces += 1
                    on_piece(heard)
