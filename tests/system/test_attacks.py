"""A registry is an open board. What an attacker posts there is routed to by nobody, and each refusal has its name."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest

from registry.advert import Advert, Envelope, Offer
from registry.keys import NodeKey, Wallet
from registry.signing import sign_advert
from tests.programs import ROOT, free_port, running, waypost
from tests.stack import Stack, new_stack, serve_gateway

OFFER = {
    "aliases": [],
    "endpoints": ["chat.completions"],
    "weights_sha256": None,
    "template_sha256": None,
    "quantization": None,
    "context_length": 2048,
    "parallel": 1,
    "modalities": ["text"],
    "engine": "rogue/1",
    "resume": False,
    "warm": True,
    "prices": [],
}
CHAT = {"messages": [{"role": "user", "content": "Hello"}]}


class Operator:
    """An operator's wallet, a node key, a URL where that node's program listens, and a place to post."""

    def __init__(self, stack: Stack, url: str, node: NodeKey) -> None:
        self.stack = stack
        self.url = url
        self.wallet = Wallet.load(stack.folder / "operator.key")
        self.node = node
        self.seq = int(time.time() * 1000)

    def advert(self, model: str, **changes: Any) -> Advert:
        """A valid advert of one model, but for `changes`."""
        now = int(time.time())
        self.seq += 1
        offers = [] if model == "" else [Offer(model=model, **OFFER)]
        fields: dict[str, Any] = {
            "operator": self.wallet.address,
            "node": self.node.public,
            "seq": self.seq,
            "issued_at": now,
            "expires_at": now + 3600,
            "url": self.url,
            "tls_spki_sha256": None,
            "offers": offers,
        }
        return Advert(**{**fields, **changes})

    async def post(self, name: str, content: str | Envelope) -> str:
        """Post an envelope as it stands; returns it as it was posted."""
        text = content if isinstance(content, str) else content.to_json()
        file = self.stack.folder / f"{name}.json"
        file.write_text(text)
        await waypost("registry", "post", file.name, "--registry", self.stack.registry, cwd=self.stack.folder)
        return text


@contextlib.asynccontextmanager
async def rogue(
    folder: Path, mode: str, elsewhere: str = "http://127.0.0.1:9"
) -> AsyncIterator[tuple[str, NodeKey, Path]]:
    """The badly behaved node; its URL, key, and what it recorded."""
    port, secret, record = free_port(), NodeKey.new(), folder / f"{mode}.jsonl"
    secret.save(folder / f"{mode}.key")
    key = (folder / f"{mode}.key").read_text().strip()
    words = [str(ROOT / "tests" / "rogue_node.py"), "--port", str(port), "--key", key, "--mode", mode]
    async with running([*words, "--record", str(record), "--elsewhere", elsewhere], folder / f"{mode}.txt") as program:
        await program.saw("listens")
        yield f"http://127.0.0.1:{port}", secret, record


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[tuple[Stack, Operator, Path]]:
    """A gateway that trusts one operator, whose node is a program that records whatever reaches it."""
    stack = await new_stack(tmp_path)
    async with rogue(tmp_path, "headers") as (url, node, record), serve_gateway(stack, ("--open",), proven=0):
        yield stack, Operator(stack, url, node), record


async def _status(session: aiohttp.ClientSession, stack: Stack, model: str) -> int:
    async with session.post(f"{stack.base_url}/chat/completions", json={**CHAT, "model": model}) as response:
        return response.status


async def _listed(stack: Stack) -> list[dict[str, Any]]:
    words = ("registry", "list", "--registry", stack.registry, "--trust", stack.operator)
    text = await waypost(*words, "--allow-private", "--probe", "--json", cwd=stack.folder)
    rows: list[dict[str, Any]] = orjson.loads(text)
    return rows


async def _routable(session: aiohttp.ClientSession, stack: Stack, model: str) -> None:
    await _becomes(session, stack, model, 200)


async def _becomes(session: aiohttp.ClientSession, stack: Stack, model: str, status: int) -> None:
    """Ask until the answer has this status."""
    deadline = time.monotonic() + 20
    while (last := await _status(session, stack, model)) != status:
        assert time.monotonic() < deadline, f"{model} still answers {last}"
        await asyncio.sleep(0.05)


async def test_what_is_forged_is_not_routed_to_and_has_its_reason(
    scene: tuple[Stack, Operator, Path], session: aiohttp.ClientSession
) -> None:
    stack, operator, record = scene
    thief, other = Wallet.new(), NodeKey.new()
    wallet, node = operator.wallet, operator.node
    now = int(time.time())
    moved = sign_advert(operator.advert("moved"), wallet, node, None)
    loose = sign_advert(operator.advert("loose"), wallet, node, None)
    posted = {
        "wrong signer": sign_advert(operator.advert("stolen"), thief, node, None),
        "expired": sign_advert(
            operator.advert("expired", issued_at=now - 7200, expires_at=now - 60), wallet, node, None
        ),
        "future": sign_advert(operator.advert("future", seq=(now + 600) * 1000), wallet, node, None),
        "lifetime": sign_advert(operator.advert("lifetime", expires_at=now + 90_000), wallet, node, None),
        "bad node signature": sign_advert(operator.advert("borrowed", node=other.public), wallet, node, None),
        "not canonical": Envelope.parse(_loosened(loose)),
        "url refused": sign_advert(operator.advert("metadata", url="http://169.254.169.254"), wallet, node, None),
        "malformed": "not even JSON",
    }
    rows = {reason: await operator.post(reason.replace(" ", "-"), content) for reason, content in posted.items()}
    rows["changed"] = await operator.post("changed", _moved(moved, operator.url))
    judged = {_key(row["envelope"]): row for row in await _listed(stack)}
    for reason, text in rows.items():
        row = judged[_key(text)]
        assert not row["accepted"], reason
        assert row["reason"] == (reason if reason != "changed" else "wrong signer")
    for model in ("stolen", "expired", "future", "lifetime", "borrowed", "loose", "metadata", "moved"):
        assert await _status(session, stack, model) == 404, model
    assert not record.exists(), "nothing ever reached the node"


async def test_a_replayed_advert_does_not_come_back(
    scene: tuple[Stack, Operator, Path], session: aiohttp.ClientSession
) -> None:
    stack, operator, _ = scene
    old = await operator.post("old", sign_advert(operator.advert("old-model"), operator.wallet, operator.node, None))
    await _routable(session, stack, "old-model")
    await operator.post("new", sign_advert(operator.advert("new-model"), operator.wallet, operator.node, None))
    await _routable(session, stack, "new-model")
    await operator.post("old-again", old)
    assert await _status(session, stack, "old-model") == 503
    assert await _status(session, stack, "new-model") == 200
    judged = {_key(row["envelope"]): row for row in await _listed(stack)}
    assert judged[_key(old)]["reason"] == "stale"


async def test_a_tombstone_stops_requests_and_the_older_advert_stays_dead(
    scene: tuple[Stack, Operator, Path], session: aiohttp.ClientSession
) -> None:
    stack, operator, _ = scene
    alive = await operator.post("alive", sign_advert(operator.advert("mortal"), operator.wallet, operator.node, None))
    await _routable(session, stack, "mortal")
    dead = await operator.post("dead", sign_advert(operator.advert(""), operator.wallet, None, None))
    await _becomes(session, stack, "mortal", 503)
    await operator.post("alive-again", alive)
    judged = {_key(row["envelope"]): row for row in await _listed(stack)}
    assert judged[_key(dead)]["accepted"]
    assert judged[_key(alive)]["reason"] == "stale"
    assert await _status(session, stack, "mortal") == 503


async def test_two_texts_with_one_seq_quarantine_the_node(
    scene: tuple[Stack, Operator, Path], session: aiohttp.ClientSession
) -> None:
    stack, operator, _ = scene
    first = await operator.post("first", sign_advert(operator.advert("one"), operator.wallet, operator.node, None))
    await _routable(session, stack, "one")
    twin = operator.advert("two", seq=operator.seq)
    second = await operator.post("second", sign_advert(twin, operator.wallet, operator.node, None))
    await _becomes(session, stack, "one", 503)
    judged = {_key(row["envelope"]): row for row in await _listed(stack)}
    assert {judged[_key(text)]["reason"] for text in (first, second)} == {"equivocation"}
    operator.seq += 1
    await operator.post("third", sign_advert(operator.advert("three"), operator.wallet, operator.node, None))
    await _routable(session, stack, "three")


async def test_a_node_that_redirects_is_not_routed_to(tmp_path: Path, session: aiohttp.ClientSession) -> None:
    stack = await new_stack(tmp_path)
    async with rogue(tmp_path, "headers") as (inner, _, record), rogue(tmp_path, "redirect", inner) as (url, node, _):
        async with serve_gateway(stack, ("--open",), proven=0):
            operator = Operator(stack, url, node)
            text = await operator.post("r", sign_advert(operator.advert("redirecting"), operator.wallet, node, None))
            rows = {_key(row["envelope"]): row for row in await _listed(stack)}
            assert rows[_key(text)]["reason"] == "challenge failed"
            await _becomes(session, stack, "redirecting", 503)
        assert not record.exists()


async def test_loopback_is_refused_unless_allowed(tmp_path: Path) -> None:
    stack = await new_stack(tmp_path)
    operator = Operator(stack, "https://127.0.0.1:9", NodeKey.new())
    await operator.post("l", sign_advert(operator.advert("local"), operator.wallet, operator.node, None))
    named = Operator(stack, "https://localhost:9", NodeKey.new())
    await operator.post("n", sign_advert(named.advert("named"), operator.wallet, named.node, None))
    words = ("registry", "list", "--registry", stack.registry, "--probe", "--json")
    rows = orjson.loads(await waypost(*words, cwd=stack.folder))
    assert [row["reason"] for row in rows] == ["url refused", "url refused"]


def _key(envelope: Any) -> bytes:
    """One form for an envelope as it was posted and as it is listed."""
    if isinstance(envelope, str):
        try:
            envelope = orjson.loads(envelope)
        except orjson.JSONDecodeError:
            return envelope.encode()
    return orjson.dumps(envelope, option=orjson.OPT_SORT_KEYS)


def _loosened(envelope: Envelope) -> str:
    fields = orjson.loads(envelope.to_json())
    fields["text"] = fields["text"].replace(":", ": ", 1)
    return orjson.dumps(fields).decode()


def _moved(envelope: Envelope, url: str) -> str:
    fields = orjson.loads(envelope.to_json())
    fields["text"] = fields["text"].replace(url, "http://127.0.0.1:9")
    return orjson.dumps(fields).decode()
