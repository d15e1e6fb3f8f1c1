"""What the official client saw of an answer, and whether that was a whole one.

Not here: who answered (cast).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import openai

from tests.reliability.cast import Stage

ASKED: dict[str, Any] = {"messages": [{"role": "user", "content": "Tell me of the ferry."}], "temperature": 0}
USAGE = {"include_usage": True}


@dataclass
class Seen:
    """`texts`, `thoughts` and `finishes` are by choice, `calls` by index. `error` is what the client raised.

    `raw` is the body as it came, `ended` whether its framing was brought to its end.
    """

    texts: dict[int, str] = field(default_factory=dict)
    thoughts: dict[int, str] = field(default_factory=dict)
    calls: dict[int, dict[str, str]] = field(default_factory=dict)
    logprobs: list[str] = field(default_factory=list)
    finishes: dict[int, str] = field(default_factory=dict)
    ids: set[str] = field(default_factory=set)
    models: set[str] = field(default_factory=set)
    roles: int = 0
    usage: Any = None
    error: openai.APIError | None = None
    headers: dict[str, str] = field(default_factory=dict)
    raw: str = ""
    ended: bool = False

    @property
    def text(self) -> str:
        return self.texts.get(0, "")

    @property
    def finish(self) -> str | None:
        return self.finishes.get(0)

    @property
    def joins(self) -> list[str]:
        """What the gateway says where an answer goes on."""
        return [comment for comment in self.comments if comment.startswith("resumed ")]

    @property
    def comments(self) -> list[str]:
        return [line[2:] for line in self.raw.splitlines() if line.startswith(": ")]

    def is_whole(self) -> Seen:
        """Check that it is an answer as it should be, whatever it says."""
        assert self.error is None, f"{self.error!r} after {self.text!r}"
        assert self.ended
        assert self.finishes.keys() == (self.texts.keys() or {0}), "each choice has ended"
        assert len(self.ids) == 1, "it is one answer"
        assert self.roles <= len(self.finishes), "nobody begins twice"
        if self.headers["content-type"].startswith("text/event-stream"):
            *_, last = said = _payloads(self.raw)
            assert last == "[DONE]"
            assert said.count(last) == 1
        return self

    def is_broken(self) -> Seen:
        """Check that nobody could take it for a whole one."""
        assert self.error is not None, f"it looks whole: {self.text!r}"
        assert not self.finishes
        assert not self.ended
        assert "[DONE]" not in _payloads(self.raw)
        return self

    def is_refused(self, *either: tuple[int, str | None]) -> Seen:
        """Check that it is an error from the start, of one of these statuses and codes."""
        assert isinstance(self.error, openai.APIStatusError), f"{self.error!r}, {self.text!r}"
        assert (self.error.status_code, self.error.code) in either, self.error.message
        assert self.error.message
        assert not self.texts
        return self


def _payloads(raw: str) -> list[str]:
    lines = raw.replace("\r\n", "\n").split("\n")
    return [line.removeprefix("data:").removeprefix(" ") for line in lines if line.startswith("data:")]


async def chat(stage: Stage, model: str, *, stream: bool = True, **more: Any) -> Seen:
    """A chat, deterministic unless `more` says otherwise."""
    return await _ask(stage, stage.client.chat.completions, stream, {**ASKED, "model": model, **more})


async def completion(stage: Stage, model: str, prompt: str, *, stream: bool = True, **more: Any) -> Seen:
    """A plain completion."""
    asked = {"temperature": 0, "max_tokens": 1000, **more, "model": model, "prompt": prompt}
    return await _ask(stage, stage.client.completions, stream, asked)


async def _ask(stage: Stage, api: Any, stream: bool, asked: dict[str, Any]) -> Seen:
    seen = Seen()
    stage.tap.begin()
    try:
        if stream:
            response = await api.with_raw_response.create(**{"stream_options": USAGE, **asked}, stream=True)
            seen.headers = dict(response.headers)
            async with response.parse() as chunks:
                async for chunk in chunks:
                    _take(seen, chunk)
        else:
            response = await api.with_raw_response.create(**asked)
            seen.headers = dict(response.headers)
            _take(seen, response.parse())
    except openai.APIError as error:
        seen.error = error
        if isinstance(error, openai.APIStatusError):
            seen.headers = dict(error.response.headers)
    answer = await stage.tap.answer(seen.error is None)
    seen.raw, seen.ended = answer.body.decode(), answer.ended
    return seen


def _take(seen: Seen, chunk: Any) -> None:
    seen.ids.add(chunk.id)
    seen.models.add(chunk.model)
    seen.usage = chunk.usage or seen.usage
    for choice in chunk.choices:
        assert choice.index not in seen.finishes, "nothing follows upon a choice's end"
        said = getattr(choice, "delta", None) or getattr(choice, "message", None)
        _add(seen.texts, choice.index, choice.text if said is None else said.content)
        if said is not None:
            _take_said(seen, choice.index, said)
        if getattr(choice, "logprobs", None) is not None:
            seen.logprobs += [each.token for each in choice.logprobs.content or ()]
        if choice.finish_reason is not None:
            seen.finishes[choice.index] = choice.finish_reason


def _take_said(seen: Seen, index: int, said: Any) -> None:
    seen.roles += said.role is not None
    _add(seen.thoughts, index, getattr(said, "reasoning_content", None))
    for at, call in enumerate(said.tool_calls or ()):
        known = seen.calls.setdefault(getattr(call, "index", at), {"id": "", "name": "", "arguments": ""})
        known["id"] += call.id or ""
        known["name"] += call.function.name or ""
        known["arguments"] += call.function.arguments or ""


def _add(texts: dict[int, str], index: int, text: str | None) -> None:
    if text:
        texts[index] = texts.get(index, "") + text
