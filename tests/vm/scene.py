"""What stands around a machine under test: a registry and a gateway on this machine, and the seconds of each stage."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp

from tests.programs import Program, free_port, running, waypost

MODEL = "smollm2-135m-instruct"
_POLL_S = 3.0  # an emulated machine needs the processors more than whoever waits for it


class Stages:
    """Prints each stage with its seconds as it ends."""

    def __init__(self) -> None:
        self._begun = self._last = time.monotonic()

    def done(self, title: str) -> None:
        now = time.monotonic()
        print(f"{now - self._last:8.1f} s  {title}", flush=True)
        self._last = now

    def say(self, line: str) -> None:
        print(f"{'':12}{line}", flush=True)

    def total(self) -> float:
        return time.monotonic() - self._begun


async def comes(condition: Callable[[], Awaitable[Any]], what: str, limit_s: float) -> Any:
    """What `condition` returns once it is true; it is asked again and again."""
    deadline = time.monotonic() + limit_s
    while not (found := await condition()):
        assert time.monotonic() < deadline, f"waited {limit_s:g} s in vain for {what}"
        await asyncio.sleep(_POLL_S)
    return found


async def advert(registry: str, operator: str, folder: Path) -> dict[str, Any] | None:
    """The one advert on the registry that a gateway trusting this operator would take; its text with it."""
    words = ("registry", "list", "--registry", registry, "--trust", operator, "--allow-private", "--json")
    said = await waypost(*words, cwd=folder, check=False)  # lines on standard error follow
    printed, _ = json.JSONDecoder().raw_decode(said if said.startswith("[") else "[]")
    accepted = [row for row in printed if row["accepted"] and row["envelope"]["kind"] == "advert"]
    newest: dict[str, Any] | None = max(accepted, key=lambda row: row["seq"], default=None)
    return newest and {**newest, "text": json.loads(newest["envelope"]["text"])}


@contextlib.asynccontextmanager
async def gateway(folder: Path, registry: str, operator: str) -> AsyncIterator[tuple[str, Program]]:
    """A gateway that anybody may call and that trusts this operator; its URL."""
    url = f"http://127.0.0.1:{free_port()}"
    words = ("--listen", url.removeprefix("http://"), "--registry", registry, "--trust", operator, "--allow-private")
    own = ("--open", "--state", str(folder / "gateway"))
    async with running(("-m", "waypost", "gateway", "serve", *words, *own), folder / "gateway.txt") as program:
        yield url, program


async def proven(url: str) -> bool:
    """Whether the gateway has challenged a node, and goes to it."""
    with contextlib.suppress(aiohttp.ClientError):
        async with aiohttp.ClientSession() as session, session.get(f"{url}/health") as response:
            return bool((await response.json()).get("proven"))
    return False


async def chat(url: str, limit_s: float) -> tuple[str, str]:
    """A streamed chat through the gateway: what was said, and the key of the node that said it."""
    body = {
        "model": MODEL, "stream": True, "max_tokens": 24, "temperature": 0,
        "messages": [{"role": "user", "content": "What is the capital of France?"}],
    }  # fmt: skip
    limit = aiohttp.ClientTimeout(total=limit_s)
    async with (
        aiohttp.ClientSession(timeout=limit) as session,
        session.post(f"{url}/v1/chat/completions", json=body) as response,
    ):
        text = await response.text()
        assert response.status == 200, text
    events = [line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: ")]
    assert events[-1] == "[DONE]", text
    parts = [json.loads(event)["choices"][0]["delta"].get("content") or "" for event in events[:-1]]
    return "".join(parts), response.headers["Waypost-Node"]
