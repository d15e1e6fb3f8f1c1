"""Readers of networks and chains against hosts that show 100,000 bent copies of real entries.

No false accept: whatever counts at the end was signed, text for text, by whom it names. No crash. No entry that stalls
the rest: the honest one on every page comes through.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from registry.advert import Envelope
from registry.backend import Backend, open_backend
from registry.evm import deploy
from registry.trust import Policy, Trust
from tests.chain.anvil import anvil
from tests.fakes.aleph import aleph_node
from tests.fakes.mutant_aleph import SOURCES
from tests.fuzz.honest import NOW, OPERATOR, envelopes
from tests.programs import Program, running, until

BENT = int(os.environ.get("WAYPOST_FUZZ", "50000"))  # on each kind of host
SEED = 20_261_121
PAGES = -(-BENT // 199)  # of 200 entries, one of them honest
FRAMES = 20  # honest ones on a socket: each comes after 99 bent ones
HONEST = PAGES + FRAMES + SOURCES


async def real_messages(folder: Path) -> list[str]:
    """Messages on Aleph as its SDK posts them, one JSON object each."""
    async with aleph_node(folder) as node:
        operator = open_backend(node.registry, author=OPERATOR)
        for envelope in envelopes(HONEST):
            await operator.publish(envelope.to_json())
        await operator.close()
        async with aiohttp.ClientSession() as session:
            return [
                json.dumps(message)
                for page in range(1, HONEST // 200 + 2)
                for message in await _page(session, node.url, page)
            ]


async def _page(session: aiohttp.ClientSession, url: str, page: int) -> list[object]:
    params = {"pagination": "200", "page": str(page)}
    async with session.get(f"{url}/api/v0/messages.json", params=params) as response:
        messages: list[object] = (await response.json())["messages"]
        return messages


async def real_logs(folder: Path) -> list[str]:
    """Entries of a chain's log as anvil gives them, one JSON object each; the first line is the contract's address."""
    async with anvil(folder) as chain:
        url = await deploy(f"evm+{chain.rpc}", chain.payer)
        payer = open_backend(url, payer=chain.payer)
        for envelope in envelopes(HONEST):
            await payer.publish(envelope.to_json())
        await payer.close()
        address = url.rpartition("/")[2].partition("?")[0]
        logs = await chain.call("eth_getLogs", {"address": address, "fromBlock": "0x0", "toBlock": "latest"})
        return [json.dumps(address), *(json.dumps(log) for log in logs)]


@contextlib.asynccontextmanager
async def hostile(program: str, entries: list[str], folder: Path) -> AsyncIterator[tuple[str, Program]]:
    """A host that bends these entries; its URL, then it is gone."""
    file = folder / "honest.jsonl"
    file.write_text("\n".join(entries) + "\n")
    words = ("-m", program, str(file), str(BENT), str(SEED))
    async with running(words, folder / "host.txt") as host:
        await until(lambda: "\n" in host.output(), host.output)
        yield host.output().splitlines()[0], host


HOSTS = {"aleph": (real_messages, "tests.fakes.mutant_aleph"), "evm": (real_logs, "tests.fakes.mutant_chain")}


@pytest.mark.parametrize("kind", HOSTS)
@pytest.mark.timeout(900)
async def test_bent_entries(kind: str, tmp_path: Path) -> None:
    record, program = HOSTS[kind]
    honest = {envelope.to_json() for envelope in envelopes(HONEST)}
    entries = await record(tmp_path)
    async with hostile(program, entries, tmp_path) as (url, host):
        backend = open_backend(_registry(kind, url, entries))
        read = await _read(backend)
        left = honest.difference(read)
        live = await _follow(backend, left, FRAMES if kind == "aleph" else 0)
        await backend.close()
        assert host.process.returncode is None, host.output()
    assert len(honest.intersection(read)) >= PAGES
    assert len(honest.intersection(live)) >= (FRAMES if kind == "aleph" else 0)
    assert backend.faults > BENT // 10
    _check_believed([*read, *live])


def _registry(kind: str, url: str, entries: list[str]) -> str:
    return f"aleph+{url}?channel=WAYPOST" if kind == "aleph" else f"evm+{url}/{json.loads(entries[0])}"


async def _read(backend: Backend) -> list[str]:
    return [text async for batch in backend.fetch() for text in batch]


async def _follow(backend: Backend, honest: set[str], wanted: int) -> list[str]:
    """Postings from the socket until so many honest ones have come."""
    found: list[str] = []
    if wanted:
        async with asyncio.timeout(60):
            async for text in backend.watch():
                found.append(text)
                if len(honest.intersection(found)) >= wanted:
                    break
    return found


def _check_believed(texts: list[str]) -> None:
    signed = {envelope.text for envelope in envelopes(HONEST)}
    trust, accepted = Trust(Policy.parse((OPERATOR.address,))), 0
    for text in texts:
        if trust.consider(text, NOW).accepted:
            assert Envelope.parse(text).text in signed
            accepted += 1
    assert accepted
    assert {one.envelope.text for one in trust.believed(NOW)} <= signed
