"""Each kind of registry by the commands that people type: `waypost up` on it, and an operator's whole way on Aleph."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest

from registry.keys import Wallet
from tests.chain.anvil import anvil
from tests.fakes.aleph import AlephNode, aleph_node
from tests.gateway.scene import CHAT, Operator, becomes, chat, rogue
from tests.programs import free_port, waypost
from tests.stack import MODEL, Stack, new_stack, serve_gateway
from tests.system.published import answers, delegate, waiting_node

REFUSED_S = 5.0 * 6  # on a machine that runs other tests beside this one


@pytest.fixture
async def aleph(tmp_path: Path) -> AsyncIterator[AlephNode]:
    async with aleph_node(tmp_path) as running:
        yield running


@contextlib.asynccontextmanager
async def _board(kind: str, folder: Path) -> AsyncIterator[list[str]]:
    """The options that name a new board of that kind; the contract is made by its command."""
    if kind == "sqlite":
        yield ["--registry", f"sqlite:///{folder}/board.db"]
    elif kind == "aleph":
        async with aleph_node(folder) as node:
            yield ["--registry", node.registry]
    else:
        async with anvil(folder) as chain:
            chain.payer.save(folder / "payer.key")
            paying = ["--payer-key", str(folder / "payer.key")]
            said = await waypost("registry", "create", "--registry", f"evm+{chain.rpc}", *paying, cwd=folder)
            yield ["--registry", said.split()[-1], *paying]


async def _listed(folder: Path, registry: str) -> list[dict[str, Any]]:
    """What the command says of every posting; each row has `offers` too, the models that it offers."""
    text = await waypost("registry", "list", "--allow-private", "--json", "--registry", registry, cwd=folder)
    rows: list[dict[str, Any]] = orjson.loads(text)
    for row in rows:
        offers = orjson.loads(row["envelope"]["text"]).get("offers", [])
        row["offers"] = [offer["model"] for offer in offers]
    return rows


@pytest.mark.engine
@pytest.mark.parametrize("kind", ["sqlite", "aleph", "evm"])
async def test_everything_comes_up_on_each_kind_of_registry(kind: str, tmp_path: Path) -> None:
    async with _board(kind, tmp_path) as options:
        said = await waypost("up", "--once", "--port", str(free_port()), *options, cwd=tmp_path)
        question, _, answer = said.partition("/v1/chat/completions:")
        assert "what is a waypost?" in question
        assert len(answer.split()) > 3
        rows = await _listed(tmp_path, options[1])
    assert [row["offers"] for row in rows if row["accepted"]] == [[]], "the tombstone of the clean stop"
    assert all(row["reason"] == "stale" for row in rows if not row["accepted"])


async def _posts(aleph: AlephNode, session: aiohttp.ClientSession) -> list[tuple[str, str]]:
    """Sender and owner of each POST on the board, newest first."""
    async with session.get(f"{aleph.url}/api/v0/messages.json", params={"msgTypes": "POST"}) as response:
        messages = (await response.json())["messages"]
    return [(message["sender"].lower(), message["content"]["address"].lower()) for message in messages]


async def _stream(session: aiohttp.ClientSession, made: Stack, began: asyncio.Event) -> str:
    body = {**CHAT, "model": MODEL, "stream": True, "max_tokens": 600, "ignore_eos": True}
    async with session.post(f"{made.base_url}/chat/completions", json=body) as response:
        assert response.status == 200
        first = await response.content.readany()
        began.set()
        return (first + await response.content.read()).decode()


async def _revoked(aleph: AlephNode, made: Stack, session: aiohttp.ClientSession, delegate: str) -> float:
    """Revoke by command; returns how long after the posting requests were refused (seconds)."""
    before = (await aleph.counts())["messages"]
    words = ("registry", "revoke", delegate, "--operator-key", "operator.key", "--registry", aleph.registry)
    command = asyncio.create_task(waypost(*words, cwd=made.folder))
    await aleph.reached(lambda counts: counts["messages"] > before)
    took_s = await answers(session, made, 503)
    assert "may post in the operator's name no more" in await command
    return took_s


@pytest.mark.engine
async def test_an_operators_whole_way_on_aleph(
    aleph: AlephNode, weights: Path, tmp_path: Path, session: aiohttp.ClientSession
) -> None:
    made = await new_stack(tmp_path)
    made.registry = aleph.registry
    async with waiting_node(made, weights, aleph.registry) as node:
        assert (await aleph.counts())["messages"] == 0, "nothing is posted without the operator"
        sender = await delegate(made, node)
        async with serve_gateway(made, ("--open",), proven=1):
            assert await _posts(aleph, session) == [(sender, made.operator)]
            status, headers, _ = await chat(session, made, MODEL, max_tokens=4)
            assert (status, headers["Waypost-Node"]) == (200, node.key)
            began = asyncio.Event()
            stream = asyncio.create_task(_stream(session, made, began))
            await began.wait()
            took_s = await _revoked(aleph, made, session, sender)
            assert took_s < REFUSED_S, f"refused {took_s:.2f} s after the posting"
            assert not stream.done(), "the stream was over before the end of the delegation"
            assert (await stream).endswith("data: [DONE]\n\n")
            await waypost(
                "registry", "retire", "--operator-key", "operator.key", "--registry", aleph.registry, cwd=tmp_path
            )
            accepted = [row for row in await _listed(tmp_path, aleph.registry) if row["accepted"]]
            assert [(row["kind"], row["offers"]) for row in accepted] == [("revocation", []), ("advert", [])]
            assert (await chat(session, made, MODEL))[0] == 503


async def test_a_curators_list_is_followed_live(
    aleph: AlephNode, tmp_path: Path, session: aiohttp.ClientSession
) -> None:
    curator, operator = Wallet.new(), Operator(aleph.registry)
    curator.save(tmp_path / "curator.key")
    made = Stack(tmp_path, aleph.registry, operator.wallet.address)

    async def curate(*edits: str) -> None:
        words = ("registry", "curate", "--operator-key", "curator.key", "--registry", aleph.registry)
        await waypost(*words, *edits, cwd=tmp_path)

    async def at_slug() -> tuple[int, str | None]:
        url = f"{made.gateway_url}/vm/demo/v1/chat/completions"
        async with session.post(url, json={**CHAT, "model": "m"}) as response:
            return response.status, response.headers.get("Waypost-Node")

    async with rogue(tmp_path, "fine") as node:
        await operator.offer(node, "m")
        async with serve_gateway(made, ("--open",), proven=0, trust=f"curator:{curator.address}"):
            assert ((await chat(session, made, "m"))[0], await at_slug()) == (404, (404, None))
            await curate("--add-operator", made.operator, "--slug", f"demo={node.key.public}")
            await becomes(session, made, "m", 200)
            assert await at_slug() == (200, node.key.public)
            await curate("--remove-operator", made.operator, "--remove-slug", "demo")
            took_s = await becomes(session, made, "m", 503)
            assert took_s < REFUSED_S, f"refused {took_s:.2f} s after the command"
            assert await at_slug() == (404, None)
