"""A real chain on loopback for the tests: anvil, from npm, as a process that ends with the test."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from registry.keys import Wallet
from tests.programs import free_port

__all__ = ["ANVIL", "FUNDED", "Chain", "anvil"]

LIMIT_S = 60
ANVIL = next(Path(__file__).parent.glob("node_modules/@foundry-rs/anvil-*/bin/anvil"), None)
# anvil's well-known keys: rich there, worth nothing anywhere else.
FUNDED = (
    "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80",
    "59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d",
)
CHAIN_ID = 31337


@dataclass
class Chain:
    """A running chain. `payer` has more than enough."""

    rpc: str
    pid: int
    payer: Wallet = field(default_factory=lambda: Wallet(bytes.fromhex(FUNDED[0])))
    other_payer: Wallet = field(default_factory=lambda: Wallet(bytes.fromhex(FUNDED[1])))
    _ids: itertools.count[int] = field(default_factory=itertools.count)

    async def call(self, method: str, *params: Any) -> Any:
        """Ask the chain; an error fails the test."""
        request = {"jsonrpc": "2.0", "id": next(self._ids), "method": method, "params": params}
        async with aiohttp.ClientSession() as session, session.post(self.rpc, json=request) as response:
            answer = await response.json(content_type=None)
        assert "error" not in answer, f"{method}: {answer['error']}"
        return answer["result"]


@contextlib.asynccontextmanager
async def anvil(folder: Path, *options: str) -> AsyncIterator[Chain]:
    """A chain of its own, empty, which mines a block for each transaction; `options` are anvil's."""
    if ANVIL is None:
        pytest.skip("anvil is not installed: run scripts/node_packages.sh chain (needs npm)")
    port = free_port()
    log = folder / f"anvil-{port}.txt"
    with log.open("wb") as out:
        process = await asyncio.create_subprocess_exec(
            str(ANVIL), "--host", "127.0.0.1", "--port", str(port), *options,
            stdout=out, stderr=out, start_new_session=True, preexec_fn=_die_with_parent,
        )  # fmt: skip
    try:
        chain = Chain(f"http://127.0.0.1:{port}", process.pid)
        await _up(chain, process)
        yield chain
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def _up(chain: Chain, process: asyncio.subprocess.Process) -> None:
    async with asyncio.timeout(LIMIT_S):
        while True:
            assert process.returncode is None, f"anvil ended with status {process.returncode}"
            with contextlib.suppress(aiohttp.ClientError):
                await chain.call("eth_chainId")
                return
            await asyncio.sleep(0.02)


def _die_with_parent() -> None:
    """The kernel ends the chain even where the tests are killed."""
    import ctypes

    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    os.umask(0o077)
