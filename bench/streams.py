"""One streamed chat, asked of a keeper: how long until its first token and its end, and how it ended.

Not here: where models are kept (keepers).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

import aiohttp
import orjson

from bench.keepers import Keeper, Refused

WHOLE = "whole"
_SHOWN = 160
_DONE = b"data: [DONE]"


@dataclass(frozen=True)
class Stream:
    """Seconds since it was asked for, a load included. `first_s` is None where no token came."""

    first_s: float | None
    whole_s: float
    tokens: int
    ending: str  # WHOLE, or what was seen instead

    def __str__(self) -> str:
        return f"{self.ending} after {self.whole_s:.1f} s and {self.tokens} tokens"


def chat(model: str, tokens: int, content: str = "Name a colour.") -> dict[str, object]:
    """A body that always yields as many tokens."""
    return {
        "model": model, "messages": [{"role": "user", "content": content}], "max_tokens": tokens,
        "ignore_eos": True, "temperature": 0, "stream": True,
    }  # fmt: skip


async def stream(
    keeper: Keeper, model: str, tokens: int, limit_s: float = 300.0, on_token: Callable[[int], None] = lambda _: None
) -> Stream:
    """Ask, and read to the end, however it ends. `on_token` is called with how many came."""
    reading = _Reading(on_token)
    try:
        async with asyncio.timeout(limit_s):
            async with (
                keeper.hold(model) as door,
                door.session.post(f"{door.url}/v1/chat/completions", json=chat(model, tokens)) as response,
            ):
                if response.status != 200:
                    body = (await response.read())[:_SHOWN].decode(errors="replace")
                    return reading.ended(f"{response.status} {body}")
                async for line in response.content:
                    reading.line(line)
    except TimeoutError:
        return reading.ended(f"nothing more within {limit_s:g} s")
    except Refused as refused:
        return reading.ended(f"refused: {refused}")
    except (aiohttp.ClientError, OSError) as error:
        return reading.ended(f"broken off ({type(error).__name__})")
    return reading.whole()


class _Reading:
    def __init__(self, on_token: Callable[[int], None]) -> None:
        self._on_token = on_token
        self._began = time.monotonic()
        self._first_s: float | None = None
        self._tokens = 0
        self._last = b""
        self._error = b""

    def line(self, line: bytes) -> None:
        if not (line := line.strip()):
            return
        self._last = line
        if line.startswith((b"error:", b"event: error")):
            self._error = line
        if not line.startswith(b"data: {"):
            return
        event = orjson.loads(line[6:])
        if "error" in event:
            self._error = line
        if any(choice.get("delta", {}).get("content") for choice in event.get("choices") or ()):
            self._tokens += 1
            self._first_s = self._first_s or time.monotonic() - self._began
            self._on_token(self._tokens)

    def whole(self) -> Stream:
        """At the answer's end, which need not be a good one."""
        if self._error:
            return self.ended(f"an error event {_shown(self._error)}")
        return self.ended(
            WHOLE if self._last == _DONE else f"an end like a good one, its last line {_shown(self._last)}"
        )

    def ended(self, how: str) -> Stream:
        return Stream(self._first_s, time.monotonic() - self._began, self._tokens, how)


def _shown(line: bytes) -> str:
    return repr(line[-_SHOWN:].decode(errors="replace"))
