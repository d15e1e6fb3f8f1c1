"""A gateway process over a registry file, with nodes of every manner, and an operator who posts to the registry.

Quicker than `tests.stack`, which types every command as a user would: keys and postings are made in this process.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from registry.advert import Advert, Envelope
from registry.backend import open_backend
from registry.keys import NodeKey, Wallet
from registry.signing import next_seq, sign_advert
from tests.gateway.adverts import offer
from tests.programs import ROOT, UP_LIMIT_S, Program, free_port, running
from tests.stack import Stack

CHAT: dict[str, Any] = {"messages": [{"role": "user", "content": "Hello"}]}


@dataclass
class Rogue:
    """A running `tests/rogue_node.py`: where it is, its key, and what it was asked."""

    url: str
    key: NodeKey
    record: Path
    program: Program

    @property
    def asked(self) -> int:
        """How many API requests have reached it."""
        return len(self.record.read_text().splitlines()) if self.record.exists() else 0


@dataclass
class Operator:
    """Who signs adverts and posts them."""

    registry: str
    wallet: Wallet = field(default_factory=Wallet.new)
    seq: int = 0

    def sign(self, node: NodeKey, url: str, *models: str, **changes: Any) -> Envelope:
        """A valid advert of these models (of none: a tombstone), but for `changes`."""
        now = int(time.time())
        self.seq = next_seq(time.time(), self.seq)
        fields: dict[str, Any] = {
            "operator": self.wallet.address,
            "node": node.public,
            "seq": self.seq,
            "issued_at": now,
            "expires_at": now + 3600,
            "url": url,
            "tls_spki_sha256": None,
            "offers": [offer(model, aliases=[f"{model}-alias"]) for model in models],
        }
        return sign_advert(Advert(**{**fields, **changes}), self.wallet, node, None)

    async def post(self, *envelopes: Envelope) -> None:
        """Put them on the board."""
        await self.post_texts(*(envelope.to_json() for envelope in envelopes))

    async def post_texts(self, *texts: str) -> None:
        """Put anything on the board, as it stands."""
        backend = open_backend(self.registry)
        try:
            for text in texts:
                await backend.publish(text)
        finally:
            await backend.close()

    async def offer(self, rogue: Rogue, *models: str, **changes: Any) -> None:
        """Post an advert of that node."""
        await self.post(self.sign(rogue.key, rogue.url, *models, **changes))


def new_scene(folder: Path) -> tuple[Stack, Operator]:
    """An operator and an empty registry; nothing runs."""
    operator = Operator(f"sqlite:///{folder}/registry.db")
    return Stack(folder, operator.registry, operator.wallet.address), operator


@contextlib.asynccontextmanager
async def rogue(folder: Path, mode: str) -> AsyncIterator[Rogue]:
    """The badly behaved node, listening."""
    port, key = free_port(), NodeKey.new()
    key.save(folder / f"{mode}-{port}.key")
    secret = (folder / f"{mode}-{port}.key").read_text().strip()
    record = folder / f"{mode}-{port}.jsonl"
    words = [str(ROOT / "tests" / "rogue_node.py"), "--port", str(port), "--key", secret, "--mode", mode]
    async with running([*words, "--record", str(record)], folder / f"{mode}-{port}.txt") as program:
        await program.saw("listens")
        yield Rogue(f"http://127.0.0.1:{port}", key, record, program)


async def chat(session: aiohttp.ClientSession, stack: Stack, model: str, **more: Any) -> tuple[int, Any, Any]:
    """One request, not streamed: status, headers, and the parsed body."""
    body = {**CHAT, "model": model, **more}
    async with session.post(f"{stack.base_url}/chat/completions", json=body) as response:
        return response.status, response.headers, await response.json()


async def becomes(
    session: aiohttp.ClientSession, stack: Stack, model: str, status: int, limit_s: float = UP_LIMIT_S
) -> float:
    """Wait until requests for the model get that status; returns how long that took (seconds)."""
    started, last = time.monotonic(), 0
    while time.monotonic() - started < limit_s:
        last = (await chat(session, stack, model))[0]
        if last == status:
            return time.monotonic() - started
    raise AssertionError(f"{model}: still {last} after {limit_s} s, not {status}")
