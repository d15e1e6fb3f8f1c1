"""A follower over a board in memory, and copies of what it knows as workers have them, over real socket pairs."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

from gateway.challenge import Prover, identity
from gateway.refresh import Follower
from gateway.snapshot import Snapshot
from gateway.workers.channel import Channel
from gateway.workers.feed import Feed
from gateway.workers.news import News
from gateway.workers.replica import Replica
from gateway.workers.source import Source
from registry.keys import NodeKey
from registry.trust import Policy, Trust
from tests.gateway.memory_board import MemoryHost
from tests.gateway.prover import client
from tests.programs import until

LIMIT_S = 90.0


@dataclass
class Copy:
    """One worker's side. It takes what it is told only while it is not `held`."""

    replica: Replica
    feed: Feed
    channel: Channel
    gone: list[str] = field(default_factory=list)
    free: asyncio.Event = field(default_factory=asyncio.Event)

    async def listen(self, ear: Channel) -> None:
        """Until the other end is closed."""
        while True:
            await self.free.wait()
            if (message := await ear.receive(60)) is None:
                return
            assert await self.replica.take(*message)


@dataclass
class Original:
    """The follower, and what it takes to copy it."""

    host: MemoryHost
    follower: Follower
    prover: Prover
    news: News

    @contextlib.asynccontextmanager
    async def copy(self, *, held: bool = False) -> AsyncIterator[Copy]:
        """A copy for as long as the context lasts; of all that there is, unless it is held."""
        ours, theirs = socket.socketpair()
        mouth, ear = await Channel.over(ours), await Channel.over(theirs)
        gone: list[str] = []
        feed = Feed(Source(self.follower, self.prover, time.time))
        made = Copy(Replica({}, gone.append), feed, mouth, gone)
        self.news.listeners.add(feed)
        tasks = [asyncio.create_task(feed.run(mouth)), asyncio.create_task(made.listen(ear))]
        try:
            if not held:
                made.free.set()
                await asyncio.wait_for(made.replica.whole.wait(), LIMIT_S)
            yield made
        finally:
            self.news.listeners.discard(feed)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            mouth.close()
            ear.close()

    def same(self, copy: Replica) -> bool:
        """Does the copy know what the original knows?"""
        mine, theirs = self.follower.directory, copy.directory
        keys = set(mine.all_keys())
        if keys != set(theirs.all_keys()) or copy.proven_count != self.prover.proven_count:
            return False
        for key in keys:
            one, other = mine.get(key), theirs.get(key)
            assert one is not None and other is not None
            who = identity(one.advert)
            if (one.advert, one.valid_until, one.explicit) != (other.advert, other.valid_until, other.explicit):
                return False
            if self.prover.proven(who) != copy.proven(who):
                return False
        return True

    async def becomes_same(self, copy: Replica) -> None:
        await until(lambda: self.same(copy), lambda: f"{copy!r} to be as {self.follower!r}", limit_s=LIMIT_S)


@contextlib.asynccontextmanager
async def original(folder: Path, host: MemoryHost, *trust: str) -> AsyncIterator[Original]:
    """The follower, running. Private addresses are allowed."""
    news = News()
    async with client() as session:
        prover = Prover(session, NodeKey.new(), time.time, news.changed)
        snapshot, policy = Snapshot(folder, (), "here"), Policy.parse(trust, True)
        follower = Follower([host], Trust(policy), prover, session, snapshot, {}, time.time, lambda _: None, news)
        running = asyncio.create_task(follower.run())
        try:
            yield Original(host, follower, prover, news)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            await prover.close()
