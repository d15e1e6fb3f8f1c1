"""When a node says anew which models are warm: at once with what else is new, seldom alone, and never for money."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from node.hardware import Hardware
from node.publishing.advertiser import Advertiser, Identity
from node.publishing.delegation import DelegationFile
from node.publishing.offers import Offered
from node.publishing.poster import Poster, Posting
from registry.advert import Advert, Envelope, Reason
from registry.backend import Backend, fetch_all, open_backend
from registry.evm import deploy
from registry.keys import NodeKey, Wallet
from registry.signing import open_signed
from registry.trust import Policy, Trust
from tests.chain.anvil import anvil
from tests.gateway.memory_board import MemoryHost
from tests.node.test_offers import M, N
from tests.node.test_publishing import URL, Operator
from tests.programs import until

LIFE_S = 3600


@dataclass
class Publishing:
    """A node's advertiser at work: what stands to be offered, the clock, and how often it has looked."""

    operator: Operator
    now: float = field(default_factory=time.time)
    offered: list[Offered] = field(default_factory=list)
    looks: int = 0

    def look(self) -> list[Offered]:
        self.looks += 1
        return self.offered

    async def looked(self, advertiser: Advertiser) -> Advert:
        """The current advert after one more look."""
        before = self.looks
        advertiser.poke()
        await until(lambda: self.looks > before)
        return current(advertiser)

    def stand(self, m: bool, n: bool | None = None) -> None:
        """Model m is warm, or cold; n too, unless it is not there."""
        self.offered = [Offered(M, m, True), *([] if n is None else [Offered(N, n, True)])]


def current(advertiser: Advertiser) -> Advert:
    assert advertiser.current is not None
    advert = open_signed(advertiser.current)
    assert isinstance(advert, Advert)
    return advert


def said(advert: Advert) -> dict[str, bool]:
    return {offer.model: offer.warm for offer in advert.offers}


async def adverts(board: Backend) -> list[Advert]:
    opened = [open_signed(Envelope.parse(raw)) for raw in await fetch_all(board)]
    return [advert for advert in opened if isinstance(advert, Advert)]


@contextlib.asynccontextmanager
async def advertising(made: Publishing, *boards: Backend) -> AsyncIterator[Advertiser]:
    """Running, with what stands there advertised for the first time."""
    folder, key, delegate = made.operator.folder, NodeKey.new(), Wallet.new()
    (folder / "d.json").write_text(json.dumps(made.operator.delegation(delegate.address, key.public, life_s=86_400)))
    mandate = DelegationFile(folder / "d.json", delegate.address, key.public, URL, lambda: made.now)
    who = Identity(key, delegate, URL, None, Hardware(2, 1024), None, None, LIFE_S)
    advertiser = Advertiser(who, mandate, boards, folder, lambda: made.now)
    task = asyncio.create_task(advertiser.run(made.look))
    try:
        await until(lambda: advertiser.current is not None)
        yield advertiser
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        for board in boards:
            await board.close()


async def test_another_warmth_alone_is_told_a_minute_later_and_the_advert_ends_no_later(tmp_path: Path) -> None:
    made = Publishing(Operator(tmp_path))
    made.stand(True, False)
    board = open_backend(made.operator.registry)
    async with advertising(made, board) as advertiser:
        first = current(advertiser)
        assert said(first) == {"m": True, "n": False}
        made.stand(False, True)
        made.now += 59
        assert await made.looked(advertiser) == first
        made.now += 2
        second = await made.looked(advertiser)
        assert said(second) == {"m": False, "n": True}
        assert (second.seq > first.seq, second.expires_at) == (True, first.expires_at)
        made.stand(True, False)
        assert await made.looked(advertiser) == second, "not again within the minute"
        made.stand(False, True)
        made.now += 120
        assert await made.looked(advertiser) == second, "and not if it is what was said last"
        await until(lambda: advertiser.standings[0]["state"] == "posted")
    assert (await made.operator.adverts())[-1] == second


async def test_a_change_of_offers_is_told_at_once_and_says_what_is_warm_by_then(tmp_path: Path) -> None:
    made = Publishing(Operator(tmp_path))
    made.stand(True)
    async with advertising(made) as advertiser:
        first = current(advertiser)
        made.stand(False, True)
        second = await made.looked(advertiser)
        assert (said(second), second.seq > first.seq) == ({"m": False, "n": True}, True)
        made.stand(False)
        assert said(await made.looked(advertiser)) == {"m": False}
        made.offered = []
        assert (await made.looked(advertiser)).is_tombstone
        made.stand(False)
        assert said(await made.looked(advertiser)) == {"m": False}


async def test_switches_without_end_do_not_put_the_renewal_off(tmp_path: Path) -> None:
    made = Publishing(Operator(tmp_path))
    made.stand(True)
    async with advertising(made) as advertiser:
        began, first = made.now, current(advertiser)
        warm, renewed = True, first
        while renewed.expires_at == first.expires_at:
            warm = not warm
            made.stand(warm)
            made.now += 61
            assert made.now - began < 0.6 * LIFE_S
            renewed = await made.looked(advertiser)
            assert said(renewed) == {"m": warm}
        assert made.now - began > 0.4 * LIFE_S
        assert renewed.expires_at == int(made.now) + LIFE_S


async def test_a_clock_that_is_set_back_neither_mutes_it_nor_makes_a_life_too_long(tmp_path: Path) -> None:
    made = Publishing(Operator(tmp_path))
    made.stand(True)
    async with advertising(made) as advertiser:
        first = current(advertiser)
        made.now -= 100_000
        made.stand(False)
        second = await made.looked(advertiser)
        assert said(second) == {"m": False}
        assert second.seq == first.seq + 1
        assert second.expires_at - second.issued_at <= LIFE_S


async def test_an_advert_from_the_future_is_replaced_once_the_clock_is_right(tmp_path: Path) -> None:
    made = Publishing(Operator(tmp_path))
    made.stand(True)
    async with advertising(made) as advertiser:
        first = current(advertiser)
        made.now -= 100
        assert await made.looked(advertiser) == first, "readers allow for as much"
        made.now -= 100
        second = await made.looked(advertiser)
        assert (second.seq, second.issued_at) == (first.seq + 1, int(made.now))
        assert await made.looked(advertiser) == second


async def test_nobody_pays_for_another_warmth_and_readers_of_every_board_agree(tmp_path: Path) -> None:
    """A real chain beside a file."""
    made = Publishing(Operator(tmp_path))
    made.stand(True)
    async with anvil(tmp_path) as chain:
        url = await deploy(f"evm+{chain.rpc}", chain.payer)
        file, paid = open_backend(made.operator.registry), open_backend(url, payer=chain.payer)
        async with advertising(made, file, paid) as advertiser:
            first = current(advertiser)
            await until(lambda: {each["state"] for each in advertiser.standings} == {"posted"})
            made.stand(False)
            made.now += 61
            second = await made.looked(advertiser)
            assert said(second) == {"m": False}
            await _newest(file, second)
            made.stand(False, True)
            third = await made.looked(advertiser)
            await _newest(file, third)
            await _newest(paid, third)
            assert await adverts(paid) == [first, third]
            await advertiser.retire(30)
            assert [advert.is_tombstone for advert in await adverts(paid)] == [False, False, True]
            texts = await fetch_all(paid)
            trust = Trust(Policy.parse(("any",), True))
            judged = [trust.consider(raw, made.now) for raw in (texts[0], *(await fetch_all(file)), *texts)]
            assert {verdict.reason for verdict in judged} <= {None, Reason.STALE}
            assert trust.believed(made.now) == []


async def _newest(board: Backend, advert: Advert) -> None:
    async with asyncio.timeout(90):
        while (await adverts(board))[-1:] != [advert]:  # noqa: ASYNC110 - it is posted by and by
            await asyncio.sleep(0.05)


async def test_what_could_not_be_posted_yet_is_posted_once_where_that_costs_money(tmp_path: Path) -> None:
    made = Publishing(Operator(tmp_path))
    made.stand(True)
    posted: list[Posting] = []
    async with advertising(made) as advertiser:
        for warm in (True, False, True):
            made.stand(warm)
            made.now += 61
            advert = await made.looked(advertiser)
            assert advertiser.current is not None
            posted.append(Posting(advertiser.current, advert))
    assert await _posted(MemoryHost("memory://", [], paid=True), *posted) == [posted[0].envelope.to_json()]
    assert await _posted(MemoryHost("memory://", []), *posted) == [posted[2].envelope.to_json()]
    renewed = Posting(replace(posted[2].envelope, delegation={"text": "another", "signature": "0x"}), posted[2].advert)
    paid = MemoryHost("memory://", [], paid=True)
    assert await _posted(paid, *posted, renewed) == [renewed.envelope.to_json()], "the operator's word is news"


async def _posted(board: MemoryHost, *postings: Posting) -> list[str]:
    """What comes onto a board that could not be reached while these were made."""
    poster = Poster(board)
    for posting in postings:
        poster.post(posting)
    task = asyncio.create_task(poster.run())
    await asyncio.wait_for(poster.answered(), 90)
    assert poster.up_to_date
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return board.postings
