"""A chat as any client would have it: streamed, and whole or failed."""

from __future__ import annotations

import aiohttp
import orjson

_LIMIT_S = 300.0
_SYSTEM = "You answer briefly."
_QUESTION = "In one sentence: what is a waypost?"


class CallFailed(Exception):
    """The call was refused or broke off; the text says how."""


async def chat(session: aiohttp.ClientSession, url: str, model: str) -> None:
    """Ask one question through the gateway at `url`, printing the answer as it comes. Raises CallFailed."""
    print(f"\n{model}, asked {_QUESTION!r} through {url}/v1/chat/completions:\n", flush=True)
    messages = [{"role": "system", "content": _SYSTEM}, {"role": "user", "content": _QUESTION}]
    body = {"model": model, "stream": True, "max_tokens": 64, "messages": messages}
    limit = aiohttp.ClientTimeout(total=_LIMIT_S)
    try:
        async with session.post(f"{url}/v1/chat/completions", json=body, timeout=limit) as response:
            if response.status != 200:
                raise CallFailed(f"the chat was refused with status {response.status}: {(await response.text())[:500]}")
            pieces = await _print_stream(response)
    except (aiohttp.ClientError, TimeoutError) as error:
        raise CallFailed(f"the chat broke off: {type(error).__name__}") from error
    print("\n", flush=True)
    if not pieces:
        raise CallFailed("the answer was empty")


async def _print_stream(response: aiohttp.ClientResponse) -> int:
    """Prints the text as it comes, and returns how many pieces had any. Raises CallFailed where it is not whole."""
    pieces = 0
    async for line in response.content:
        if not line.startswith(b"data: "):
            continue
        data = line.removeprefix(b"data: ").strip()
        if data == b"[DONE]":
            return pieces
        event = orjson.loads(data)
        if "error" in event:
            raise CallFailed(f"the chat failed: {event['error']['message']}")
        text = "".join(choice["delta"].get("content") or "" for choice in event["choices"])
        pieces += bool(text)
        print(text, end="", flush=True)
    raise CallFailed("the chat broke off before its end")
