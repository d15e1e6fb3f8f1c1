"""Who a gateway's clients are to it: holders of keys, or addresses where there are none.

Not here: what they ask.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from openai import AsyncOpenAI

from gateway.config import KeyNewConfig
from gateway.keys import run_new
from tests.busy.asking import client

KINDS = ("keys", "addresses")


def access(kind: str, folder: Path) -> list[str]:
    """What the gateway is told of who may call."""
    return ["--open"] if kind == "addresses" else ["--api-keys", str(folder / "api-keys")]


def keys(kind: str, folder: Path, names: Sequence[str]) -> list[str]:
    """A key for each, made as the command makes it; nobody's are looked at where there are none."""
    if kind == "addresses":
        return ["any" for _ in names]
    return [_new_key(folder, name) for name in names]


def _new_key(folder: Path, name: str) -> str:
    with contextlib.redirect_stdout(io.StringIO()) as said:
        run_new(KeyNewConfig(name=name, api_keys=folder / "api-keys"))
    return said.getvalue().strip()


@contextlib.asynccontextmanager
async def clients(kind: str, base_url: str, shown: Sequence[str]) -> AsyncIterator[list[AsyncOpenAI]]:
    """One for each key; by address each comes from one of its own."""
    sources = [f"127.0.{2 + n // 200}.{1 + n % 200}" if kind == "addresses" else None for n in range(len(shown))]
    made = [client(base_url, key=key, source=source) for key, source in zip(shown, sources, strict=True)]
    try:
        yield made
    finally:
        for each in made:
            await each.close()
