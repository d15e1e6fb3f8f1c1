"""The one call that `waypost up` makes, as any client would: what is asked depends on what the model serves.

Not here: how a chat is printed (chat).
"""

from __future__ import annotations

from typing import Any

import aiohttp

from deploy.chat import CallFailed, chat

_LIMIT_S = 60.0
_SENTENCE = "A waypost shows the way."
CHAT, EMBEDDINGS = "chat.completions", "embeddings"


async def first_call(session: aiohttp.ClientSession, url: str, model: str) -> str:
    """Ask the model through the gateway at `url`; returns the endpoint that was asked. Raises CallFailed."""
    endpoints = (await _asked(session, "GET", f"{url}/v1/models/{model}"))["endpoints"]
    if CHAT in endpoints:
        await chat(session, url, model)
        return CHAT
    if EMBEDDINGS in endpoints:
        await _embed(session, url, model)
        return EMBEDDINGS
    raise CallFailed(f"{model} serves {', '.join(endpoints) or 'nothing'}, none of which can be tried here")


async def _embed(session: aiohttp.ClientSession, url: str, model: str) -> None:
    print(f"\n{model}, asked to embed {_SENTENCE!r} through {url}/v1/embeddings:\n", flush=True)
    answer = await _asked(session, "POST", f"{url}/v1/embeddings", {"model": model, "input": _SENTENCE})
    vector = answer["data"][0]["embedding"]
    shown = ", ".join(f"{number:.4f}" for number in vector[:4])
    print(f"{len(vector)} numbers: {shown}, ...\n", flush=True)


async def _asked(session: aiohttp.ClientSession, method: str, url: str, body: Any = None) -> Any:
    try:
        async with session.request(method, url, json=body, timeout=aiohttp.ClientTimeout(total=_LIMIT_S)) as response:
            if response.status != 200:
                raise CallFailed(f"{url} answered with status {response.status}: {(await response.text())[:500]}")
            return await response.json()
    except (aiohttp.ClientError, TimeoutError) as error:
        raise CallFailed(f"{url} did not answer: {type(error).__name__}") from error
