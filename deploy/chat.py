"""A chat as any client would have it: streamed, printed as it comes, and whole or failed."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from deploy.trial import CallFailed, Trial

PATH = "/v1/chat/completions"
_SYSTEM = "You answer briefly."
_QUESTION = "In one sentence: what is a waypost?"


async def chat(trial: Trial, model: str) -> None:
    """Ask one question and print the answer. Raises CallFailed."""
    print(f"\n{model}, asked {_QUESTION!r} through {trial.url}{PATH}:\n", flush=True)
    some = False
    async with aclosing(pieces(trial, model)) as said:
        async for piece in said:
            print(piece, end="", flush=True)
            some = True
    print("\n", flush=True)
    if not some:
        raise CallFailed("the answer was empty")


async def pieces(trial: Trial, model: str) -> AsyncGenerator[str, None]:
    """The answer to one question, as it comes. Raises CallFailed."""
    messages = [{"role": "system", "content": _SYSTEM}, {"role": "user", "content": _QUESTION}]
    body = {"model": model, "stream": True, "max_tokens": 64, "messages": messages}
    async with aclosing(trial.streamed(PATH, body)) as events:
        async for event in events:
            for choice in event["choices"]:
                if text := choice["delta"].get("content"):
                    yield text
