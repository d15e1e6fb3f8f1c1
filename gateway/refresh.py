"""The loop that keeps the directory true: what readers bring is judged, and what changed by it is applied.

One follower for all registries. It owns the trust state, the directory in force and when the snapshot is written. Not
here: reading (reader), the rules (`registry.trust`), names (directory), and proofs of possession (challenge).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from itertools import chain

import aiohttp

from gateway.challenge import Prover, identity
from gateway.directory import Directory
from gateway.hosts import Episode, Hosts, HostState, Turn
from gateway.ownership import Ownership
from gateway.pace import Pace
from gateway.reader import Reader
from gateway.renewal import Renewal
from gateway.saving import Saving
from gateway.snapshot import Memory, Snapshot
from gateway.workers.news import News
from registry.backend import Backend
from registry.trust import Believed, Curation, Key, Trust, Verdict

log = logging.getLogger("waypost.gateway")

_SETTLE_S = 0.05  # postings that come together are applied together
_TICK_S = 1.0
_PROOFS_S = 2.0  # a start waits no longer for nodes that do not answer


class Follower:
    """Follows registries; `directory` is the newest truth. `repr` shows the counts."""

    def __init__(
        self,
        backends: Sequence[Backend],
        trust: Trust,
        prover: Prover,
        session: aiohttp.ClientSession,
        snapshot: Snapshot,
        pins: dict[str, str],
        clock: Callable[[], float],
        on_gone: Callable[[str], None],
        news: News | None = None,
    ) -> None:
        self._read = asyncio.Event()  # something has been read: a registry, or a snapshot
        self._applied = asyncio.Event()  # and it is in the directory
        self.ready = asyncio.Event()  # and its nodes have been asked to prove themselves
        self.refused = 0
        self._news = news or News()
        self.ownership = Ownership(backends, clock, self._news.changed)
        self.renewal = Renewal(session, self.consider, clock)
        self.hosts = Hosts([backend.board for backend in backends])
        self.readers = [
            Reader(backend, partial(self._consider_from, number), self._on_read, lambda: self._rules, clock)
            for number, backend in enumerate(backends)
        ]
        self._trust = trust
        self._prover = prover
        self._snapshot = snapshot
        self._pins = pins
        self._clock = clock
        self._on_gone = on_gone
        self._changed = asyncio.Event()
        self._rules = asyncio.Event()  # set, and replaced, when a posting changes which others count
        self._curation: Curation | None = None
        self._applied_at = 0.0
        self._settled_on: Directory | None = None
        self.directory = self._new_directory()
        self._saving = Saving(snapshot, trust, lambda: self.directory.names_seen(clock()))

    def __repr__(self) -> str:
        return f"<Follower {self.directory!r} registries={len(self.readers)} refused={self.refused}>"

    @property
    def settled(self) -> bool:
        """Has all been told of that the directory in force changed? Not while another one is taking its place."""
        return self.directory is self._settled_on

    @property
    def curation(self) -> Curation | None:
        """What the directory in force goes by."""
        return self._curation

    async def run(self) -> None:
        """Until cancelled. The snapshot is read first, so that a registry which is away at start changes nothing."""
        await self._restore()
        try:
            async with asyncio.TaskGroup() as group:
                for reader in self.readers:
                    group.create_task(reader.run())
                group.create_task(self._apply_changes())
                group.create_task(self._compare_hosts())
                group.create_task(self.renewal.run())
                group.create_task(self.ownership.run())
                group.create_task(self._saving.run())
                group.create_task(self._get_ready())
        finally:
            memory = Memory(self._trust.snapshot(self._clock()), self.directory.names_seen(self._clock()))
            await asyncio.shield(asyncio.to_thread(self._snapshot.save, memory))

    def consider(self, raw: str) -> Verdict:
        """Take one posting, wherever it comes from."""
        version = self._trust.policy_version
        verdict = self._trust.consider(raw, self._clock())
        if self._trust.policy_version != version:
            self._rules.set()
            self._rules = asyncio.Event()
        if verdict.accepted and verdict.kind != "advert":
            self._saving.soon()
        if not verdict.accepted:
            self.refused += 1
            log.debug("refused a posting of %s: %s (%s)", verdict.node, verdict.reason, verdict.detail)
        self._changed.set()
        return verdict

    def registries(self) -> Iterator[HostState]:
        """What is known of each host."""
        for number, reader in enumerate(self.readers):
            backend, missing = reader.backend, self.hosts.missing(number, self._clock())
            yield HostState(backend.url, reader.up, missing, backend.faults)

    def _consider_from(self, host: int, raw: str) -> None:
        self.hosts.show(host, self.consider(raw), self._clock())

    async def _restore(self) -> None:
        memory = await asyncio.to_thread(self._snapshot.load)
        pace = Pace()
        for _ in self._trust.restoring(memory.postings, self._clock()):
            await pace.step()
        self.directory = self._new_directory(memory.names)
        if memory.postings:
            self._on_read()
            await self._apply()

    def _on_read(self) -> None:
        self._read.set()
        self._changed.set()

    async def _get_ready(self) -> None:
        """Before that, requests would be refused for want of nodes that may be routed to."""
        await self._applied.wait()
        with suppress(TimeoutError):
            async with asyncio.timeout(_PROOFS_S):
                await self._prover.asked_all()
        self.ready.set()

    def _new_directory(self, seen: dict[str, float] | None = None) -> Directory:
        return Directory((), self._curation, self._pins, seen, self._owns)

    def _owns(self, believed: Believed) -> bool:
        """May the virtual machine that an advert claims lead to it?"""
        return self.ownership.owns(believed) and self._prover.proven(identity(believed.advert))

    async def _apply_changes(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(_TICK_S):
                    await self._changed.wait()
                await asyncio.sleep(_SETTLE_S)
                self._changed.clear()
            await self._apply()

    async def _apply(self) -> None:
        """Bring the directory up to date. Its readers see each advert, and each set of curators' lists, as a whole.

        Whom a curator drops is gone first, since another directory takes a while to make.
        """
        now, pace, read = self._clock(), Pace(), self._read.is_set()
        for change in self._trust.changes(now):
            self._tell(change.key, self.directory.apply(change, now), change.believed)
            self._saving.due()
            await pace.step()
        curation = self._trust.curation(now)
        set_back, self._applied_at = now < self._applied_at - _TICK_S, now
        if curation is not self._curation or set_back:  # by another clock, what had ended may count again
            await self._rebuild(curation, now)
        self._prover.ask()
        replaced, self._settled_on = not self.settled, self.directory
        self._news.applied(replaced)
        if read:
            self._applied.set()

    async def _rebuild(self, curation: Curation, now: float) -> None:
        """Another directory, made beside the one in force, for other curators' lists."""
        self._curation, before, pace = curation, self.directory, Pace()
        after = self._new_directory()
        for change in self._trust.afresh(now):
            after.apply(change, now)
            await pace.step()
        for _ in after.names.inherit(before.names, now):
            await pace.step()
        self.directory = after
        for key in chain(before.all_keys(), (key for key in after.all_keys() if before.get(key) is None)):
            if not _same(before.get(key), after.get(key)):
                self._tell(key, before.get(key), after.get(key))
            await pace.step()
        self._saving.due()

    def _tell(self, key: Key, before: Believed | None, after: Believed | None) -> None:
        """Let everybody know what is believed of a node now."""
        self._prover.follow(key, after)
        self.renewal.follow(key, before, after)
        self.ownership.follow(key, after)
        self._news.changed((key,), gone=after is None)
        if after is None and not self.directory.lists(key[1]):
            self._on_gone(key[1])

    async def _compare_hosts(self) -> None:
        while True:
            await asyncio.sleep(_TICK_S)
            for episode in self.hosts.review([reader.reading for reader in self.readers], self._clock()):
                self._log_episode(self.readers[episode.host].backend, episode)

    def _log_episode(self, backend: Backend, episode: Episode) -> None:
        if episode.turn is Turn.LEVEL:
            log.info("registry %s shows what the other hosts of its board show", backend.url)
            return
        kind, who, node = episode.example or ("", "", None)
        log.warning(
            "registry %s withholds, or lags behind: another host of its board shows %d newer, such as the %s by %s%s",
            backend.url, episode.missing, kind, who, f" for node {node}" if node else "",
        )  # fmt: skip


def _same(one: Believed | None, other: Believed | None) -> bool:
    if one is None or other is None:
        return one is other
    same_text = one.envelope is other.envelope
    return same_text and one.valid_until == other.valid_until and one.explicit == other.explicit
