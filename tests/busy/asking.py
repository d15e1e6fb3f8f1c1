"""One chat asked with the official library, without its retries, and what came of it.

Every request has so many tokens that its answer must have: an engine that would end sooner is told not to. Not here:
who asks, how often, and what is made of it.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass

import openai
from openai import AsyncOpenAI, AsyncStream
from openai.types.chat import ChatCompletionChunk

from tests.killing.host import MODEL

LIMIT_S = 120.0
_COME_BACK = (429, 503)
# What the library is built on: httpx, or in later versions its successor.
_BASE = next(each for each in openai.DefaultAsyncHttpxClient.__mro__ if each.__name__ == "AsyncClient")
_httpx = sys.modules[_BASE.__module__.partition(".")[0]]


@dataclass(frozen=True)
class Question:
    """`tokens` is the length of its answer."""

    text: str
    tokens: int
    stream: bool
    model: str = MODEL


@dataclass
class Heard:
    """A whole answer, or when to come back, or a fault: that is, the answer was lost."""

    seconds: float = 0.0  # until the answer had ended
    first_s: float | None = None  # until its first token, of a stream
    pieces: int = 0
    tokens: int = 0
    text: str = ""
    node: str = ""
    come_back_s: float | None = None
    code: str = ""  # of a refusal
    fault: str = ""

    @property
    def answered(self) -> bool:
        return not self.fault and self.come_back_s is None


def client(base_url: str, *, key: str = "any", source: str | None = None) -> AsyncOpenAI:
    """It keeps its connections. `source` is the loopback address that it comes from."""
    limits = _httpx.Limits(max_connections=None, max_keepalive_connections=None, keepalive_expiry=600)
    transport = _httpx.AsyncHTTPTransport(local_address=source, limits=limits)
    through = _httpx.AsyncClient(transport=transport, timeout=LIMIT_S)
    return AsyncOpenAI(base_url=base_url, api_key=key, max_retries=0, timeout=LIMIT_S, http_client=through)


async def ask(asking: AsyncOpenAI, question: Question) -> Heard:
    """Read it to its end. A refusal counts as one only if it says when to come back."""
    heard, began = Heard(), time.monotonic()
    try:
        await _read(asking, question, heard, began)
    except openai.APIStatusError as error:
        _refused(heard, error)
    except Exception as error:  # whatever it is, the client did not get its answer
        heard.fault = f"after {heard.pieces} pieces: {error!r} {error.__cause__!r}"
    heard.seconds = time.monotonic() - began
    return heard


async def _read(asking: AsyncOpenAI, question: Question, heard: Heard, began: float) -> None:
    body = {
        "model": question.model, "max_tokens": question.tokens, "temperature": 0, "seed": 7,
        "messages": [{"role": "user", "content": question.text}],
    }  # fmt: skip
    extra = {"ignore_eos": True}
    if question.stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    raw = await asking.chat.completions.with_raw_response.create(**body, extra_body=extra)  # type: ignore[call-overload]
    heard.node = raw.headers.get("Waypost-Node", "")
    said = raw.parse()
    if question.stream:
        finish = await _read_stream(said, heard, began)
    else:
        heard.text, finish = said.choices[0].message.content or "", said.choices[0].finish_reason
        heard.tokens = said.usage.completion_tokens
    if finish != "length" or heard.tokens not in (question.tokens, 0):
        heard.fault = f"ended with {finish} after {heard.tokens} tokens of {question.tokens}"


async def _read_stream(stream: AsyncStream[ChatCompletionChunk], heard: Heard, began: float) -> str | None:
    finish = None
    async for chunk in stream:
        if chunk.usage is not None:
            heard.tokens = chunk.usage.completion_tokens
        for choice in chunk.choices:
            finish = choice.finish_reason or finish
            if choice.delta.content:
                heard.first_s = heard.first_s if heard.first_s is not None else time.monotonic() - began
                heard.pieces += 1
                heard.text += choice.delta.content
    return finish


def _refused(heard: Heard, error: openai.APIStatusError) -> None:
    after = error.response.headers.get("Retry-After", "")
    heard.code = str(error.code or "")
    if error.status_code in _COME_BACK and after.isdigit() and int(after) > 0:
        heard.come_back_s = float(after)
    else:
        heard.fault = f"{error.status_code} {heard.code}, Retry-After {after!r}: {error.message}"
