"""Adverts are renewed from the nodes themselves, so that days without a registry change nothing; and snapshots."""

from __future__ import annotations

import asyncio
import contextlib
import stat
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import web

from gateway.challenge import Prover
from gateway.refresh import Follower
from gateway.snapshot import Memory, Snapshot
from registry.advert import Envelope
from registry.keys import NodeKey
from registry.trust import Policy, Trust
from relay.http import make_app
from relay.serving import serve
from tests.gateway.prover import client
from tests.gateway.scene import Operator
from tests.programs import until

LIFETIME_S = 3600  # of the adverts that `Operator.sign` makes


@contextlib.asynccontextmanager
async def _publishing(current: list[str]) -> AsyncIterator[str]:
    """A node that serves the newest of these texts as its advert; its URL."""

    async def advert(_: web.Request) -> web.StreamResponse:
        return web.Response(text=current[-1]) if current else web.Response(status=404)

    bound, stop = asyncio.get_running_loop().create_future(), asyncio.Event()
    app = make_app([web.get("/.well-known/waypost/advert", advert)], body_limit_bytes=1000)
    task = asyncio.create_task(
        serve(app, "127.0.0.1", 0, stop=stop, on_ready=lambda _, port: bound.set_result(port), linger_s=0)
    )
    try:
        yield f"http://127.0.0.1:{await asyncio.wait_for(bound, 90)}"
    finally:
        stop.set()
        await task


@contextlib.asynccontextmanager
async def _following(folder: Path, operator: Operator, known: Envelope, clock: list[float]) -> AsyncIterator[Follower]:
    """A follower without any registry, that knows one advert from its snapshot."""
    snapshot = Snapshot(folder, (), "here")
    snapshot.save(Memory([known.to_dict()]))
    trust = Trust(Policy.parse((operator.wallet.address,), allow_private=True))
    async with client() as session:
        prover = Prover(session, NodeKey.new(), lambda: clock[0])
        follower = Follower([], trust, prover, session, snapshot, {}, lambda: clock[0], lambda _: None)
        running = asyncio.create_task(follower.run())
        try:
            await until(lambda: len(follower.directory.current(clock[0])) == 1)
            yield follower
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            await prover.close()


def _models(follower: Follower, now: float) -> list[str]:
    return [offer.model for listed in follower.directory.current(now) for offer in listed.advert.offers]


async def test_an_advert_near_its_end_is_renewed_from_its_node(tmp_path: Path) -> None:
    operator, node, current = Operator(""), NodeKey.new(), list[str]()
    async with _publishing(current) as url:
        known = operator.sign(node, url, "first")
        newer = operator.sign(node, url, "second", expires_at=int(time.time()) + 2 * LIFETIME_S)
        current.append(newer.to_json())
        clock = [time.time()]
        async with _following(tmp_path, operator, known, clock) as follower:
            await follower.renewal.renew_due()
            assert _models(follower, clock[0]) == ["first"], "not due yet"
            clock[0] += LIFETIME_S * 0.7
            await follower.renewal.renew_due()
            await until(lambda: _models(follower, clock[0]) == ["second"])
            clock[0] += LIFETIME_S * 0.7
            assert _models(follower, clock[0]) == ["second"]


async def test_a_node_whose_advert_ended_while_registries_were_away_is_asked_on(tmp_path: Path) -> None:
    operator, node, current = Operator(""), NodeKey.new(), list[str]()
    async with _publishing(current) as url:
        clock = [time.time()]
        async with _following(tmp_path, operator, operator.sign(node, url, "first"), clock) as follower:
            clock[0] += LIFETIME_S + 10
            await until(lambda: "nodes=0" in repr(follower))
            late = operator.sign(node, url, "second", expires_at=int(clock[0]) + 600)
            current.append(late.to_json())
            await follower.renewal.renew_due()
            await until(lambda: _models(follower, clock[0]) == ["second"])


@pytest.mark.parametrize("after_s", [60, 2 * LIFETIME_S])
async def test_a_node_that_withdrew_its_models_may_come_back_without_a_registry(tmp_path: Path, after_s: int) -> None:
    """As one does whose engine starts again: until what it withdrew would have ended, and no longer."""
    operator, node, current = Operator(""), NodeKey.new(), list[str]()
    async with _publishing(current) as url:
        clock = [time.time()]
        async with _following(tmp_path, operator, operator.sign(node, url, "first"), clock) as follower:
            clock[0] += LIFETIME_S * 0.7
            nothing = operator.sign(node, url, offers=[], issued_at=int(clock[0]), expires_at=int(clock[0]) + 600)
            current.append(nothing.to_json())
            await follower.renewal.renew_due()
            await until(lambda: _models(follower, clock[0]) == [])
            clock[0] += after_s
            again = operator.sign(node, url, "again", issued_at=int(clock[0]), expires_at=int(clock[0]) + 600)
            current.append(again.to_json())
            await follower.renewal.renew_due()
            if after_s < LIFETIME_S:
                await until(lambda: _models(follower, clock[0]) == ["again"])
            assert repr(follower.renewal) == f"<Renewal nodes={int(after_s < LIFETIME_S)}>"


@pytest.mark.parametrize("case", ["older", "another operator's", "garbage", "none", "too long"])
async def test_what_a_node_serves_is_judged_like_a_posting(tmp_path: Path, case: str) -> None:
    operator, node, current = Operator(""), NodeKey.new(), list[str]()
    async with _publishing(current) as url:
        older = operator.sign(node, url, "older")
        known = operator.sign(node, url, "known")
        texts = {
            "older": older.to_json(),
            "another operator's": Operator("").sign(node, url, "stolen").to_json(),
            "garbage": "not an envelope",
            "too long": " " * 300_000 + operator.sign(node, url, "long").to_json(),
        }
        current += [texts[case]] if case in texts else []
        clock = [time.time() + LIFETIME_S * 0.7]
        async with _following(tmp_path, operator, known, clock) as follower:
            await follower.renewal.renew_due()
            assert _models(follower, clock[0]) == ["known"]


async def test_a_node_that_is_away_keeps_its_advert_until_its_end(tmp_path: Path) -> None:
    operator, node = Operator(""), NodeKey.new()
    known = operator.sign(node, "http://127.0.0.1:9", "known")
    clock = [time.time() + LIFETIME_S * 0.7]
    async with _following(tmp_path, operator, known, clock) as follower:
        await follower.renewal.renew_due()
        assert _models(follower, clock[0]) == ["known"]
        clock[0] += LIFETIME_S
        assert _models(follower, clock[0]) == []


def test_a_snapshot_comes_back_as_it_was(tmp_path: Path) -> None:
    snapshot = Snapshot(tmp_path, ("sqlite:///a.db",), "127.0.0.1:1")
    memory = Memory([{"kind": "advert"}], {"m": 5.0})
    snapshot.save(memory)
    assert snapshot.load() == memory
    assert stat.S_IMODE(snapshot.path.stat().st_mode) == 0o600
    assert Snapshot(tmp_path, ("sqlite:///b.db",), "127.0.0.1:1").load() == Memory(), "another registry's is another"


@pytest.mark.parametrize(
    "content",
    [b"", b"{half", b"[]", b"null", b'{"version": 99}', b'{"version": 1, "postings": 7, "names": []}',
     b'{"version": 1, "postings": [1, null], "names": {"m": "soon"}}'],
)  # fmt: skip
def test_a_broken_snapshot_is_no_snapshot(tmp_path: Path, content: bytes) -> None:
    snapshot = Snapshot(tmp_path, (), "here")
    snapshot.path.write_bytes(content)
    assert snapshot.load() == Memory()


async def test_a_forged_snapshot_is_believed_in_nothing(tmp_path: Path) -> None:
    operator, node = Operator(""), NodeKey.new()
    real = operator.sign(node, "http://127.0.0.1:9", "known")
    forged: list[dict[str, Any]] = [
        {**real.to_dict(), "text": real.text.replace("known", "moved")},
        Operator("").sign(NodeKey.new(), "http://127.0.0.1:9", "stranger").to_dict(),
        orjson.loads(b"{}"),
        real.to_dict(),
    ]
    snapshot = Snapshot(tmp_path, (), "here")
    snapshot.save(Memory(forged))
    trust = Trust(Policy.parse((operator.wallet.address,), allow_private=True))
    trust.restore(snapshot.load().postings, time.time())
    assert [one.model for listed in trust.believed(time.time()) for one in listed.advert.offers] == ["known"]
