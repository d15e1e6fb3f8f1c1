"""The loop that keeps the directory true: fetch, verify, apply; and what it does while registries are away.

One follower reads every registry. It owns the trust state, the directory in force and the snapshot. Not here: the rules
(`registry.trust`), names (`directory`), and proofs of possession (`challenge`).
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
from collections.abc import Callable, Sequence

import aiohttp

from gateway.challenge import Prover
from gateway.directory import Directory
from gateway.snapshot import Memory, Snapshot
from gateway.tls import verification
from registry.advert import MAX_ENVELOPE_BYTES
from registry.backend import Backend, BackendError
from registry.trust import Believed, Trust
from relay.http import read_at_most

log = logging.getLogger("waypost.gateway")

_BACKOFF_FIRST_S = 0.5
_BACKOFF_MOST_S = 10.0
_SETTLE_S = 0.05  # postings that come together are applied together
_TICK_S = 1.0
_SAVE_EVERY_S = 1.0
_BATCH = 100  # postings verified before the loop is given back
_RENEW_BEFORE = 3  # a node is asked for its advert in the last third of the one known
_RENEW_EVERY_S = 20.0
_RENEW_LIMIT_S = 10.0
_ASKED_FOR_S = 86_400
_RENEW_AT_ONCE = 32


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
        on_apply: Callable[[frozenset[str]], None],
    ) -> None:
        self.directory = Directory()
        self.ready = asyncio.Event()  # something has been read: a registry, or a snapshot
        self._backends = backends
        self._trust = trust
        self._prover = prover
        self._session = session
        self._snapshot = snapshot
        self._pins = pins
        self._clock = clock
        self._on_apply = on_apply
        self._changed = asyncio.Event()
        self._rules = asyncio.Event()  # set, and replaced, when a posting changes which others count
        self._names: dict[str, float] = {}  # when each was last valid
        self._believed: list[Believed] = []
        self._lapsed: dict[str, Believed] = {}  # by node, those that ended lately and were not replaced
        self._next_expiry = math.inf
        self._unsaved = False
        self.refused = 0

    def __repr__(self) -> str:
        return f"<Follower {self.directory!r} registries={len(self._backends)} refused={self.refused}>"

    async def run(self) -> None:
        """Until cancelled. The snapshot is read first, so that a registry which is away at start changes nothing."""
        await self._restore()
        try:
            async with asyncio.TaskGroup() as group:
                for backend in self._backends:
                    group.create_task(self._follow(backend))
                group.create_task(self._apply_changes())
                group.create_task(self._renew_from_nodes())
                group.create_task(self._save_often())
        finally:
            await asyncio.shield(asyncio.to_thread(self._snapshot.save, self._memory()))

    async def renew_due(self) -> None:
        """Ask every node whose advert is near its end for a newer one."""
        now = self._clock()
        due = [listed for listed in (*self._believed, *self._lapsed.values()) if _is_due(listed, now)]
        for start in range(0, len(due), _RENEW_AT_ONCE):
            await asyncio.gather(*map(self._renew, due[start : start + _RENEW_AT_ONCE]))

    async def _restore(self) -> None:
        memory = await asyncio.to_thread(self._snapshot.load)
        self._trust.restore(memory.postings, self._clock())
        self._names = memory.names
        if memory.postings:
            self.ready.set()
            self._apply()

    async def _follow(self, backend: Backend) -> None:
        failures = 0
        while True:
            rules = self._rules
            try:
                await self._consider_all(await backend.fetch())
                if failures:
                    log.info("registry %s is back", backend.url)
                failures = 0
                self.ready.set()
                await self._watch(backend, rules)
            except BackendError as error:
                wait = min(_BACKOFF_FIRST_S * 2**failures, _BACKOFF_MOST_S) * random.uniform(0.5, 1.0)  # noqa: S311
                level = logging.DEBUG if failures else logging.WARNING  # said once: it may be away for days
                log.log(level, "a registry is away; what is known goes on: %s", error)
                failures = min(failures + 1, 16)
                await asyncio.sleep(wait)

    async def _watch(self, backend: Backend, rules: asyncio.Event) -> None:
        """Returns when the rules changed since the last fetch: what was refused before may count now."""
        tasks = (asyncio.create_task(self._consider_new(backend)), asyncio.create_task(rules.wait()))
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _consider_new(self, backend: Backend) -> None:
        number = 0
        async for raw in backend.watch():
            self._consider(raw)
            self._changed.set()
            number += 1
            if number % _BATCH == 0:
                await asyncio.sleep(0)

    async def _consider_all(self, postings: list[str]) -> None:
        for number, raw in enumerate(postings, 1):
            self._consider(raw)
            if number % _BATCH == 0:
                await asyncio.sleep(0)
        self._changed.set()

    def _consider(self, raw: str) -> None:
        version = self._trust.policy_version
        verdict = self._trust.consider(raw, self._clock())
        if self._trust.policy_version != version:
            self._rules.set()
            self._rules = asyncio.Event()
        if not verdict.accepted:
            self.refused += 1
            log.debug("refused a posting of %s: %s (%s)", verdict.node, verdict.reason, verdict.detail)

    async def _apply_changes(self) -> None:
        while True:
            try:
                async with asyncio.timeout(_TICK_S):
                    await self._changed.wait()
            except TimeoutError:
                if self._clock() < self._next_expiry:
                    self._prover.want(self._believed)  # those that failed, again
                    continue
            else:
                await asyncio.sleep(_SETTLE_S)
                self._changed.clear()
                self._unsaved = True
            self._apply()

    def _apply(self) -> None:
        now = self._clock()
        before, self._believed = self._believed, self._trust.believed(now)
        self._remember_lapsed(before, now)
        self._next_expiry = min((listed.valid_until for listed in self._believed), default=math.inf)
        names = {**self._names, **self.directory.names_seen(now)}  # what leaves now was valid until now
        self.directory = Directory(self._believed, self._trust.curation(now), self._pins, names)
        self._names = self.directory.names_seen(now)
        self._prover.want(self._believed)
        self._on_apply(frozenset(listed.advert.node for listed in self._believed))

    def _remember_lapsed(self, before: Sequence[Believed], now: float) -> None:
        """A node whose advert ended while registries were away may have a newer one: it is asked for a day."""
        ended = (one for one in (*self._lapsed.values(), *before) if now - _ASKED_FOR_S < one.valid_until <= now)
        current = {one.advert.node for one in self._believed}
        self._lapsed = {one.advert.node: one for one in ended if one.advert.node not in current}

    async def _renew_from_nodes(self) -> None:
        while True:
            await asyncio.sleep(_RENEW_EVERY_S)
            await self.renew_due()

    async def _renew(self, listed: Believed) -> None:
        if raw := await self._advert_of(listed):
            self._consider(raw)
            self._changed.set()

    async def _advert_of(self, listed: Believed) -> str | None:
        url = listed.advert.url + "/.well-known/waypost/advert"
        tls = verification(listed.advert.tls_spki_sha256)
        try:
            async with (
                asyncio.timeout(_RENEW_LIMIT_S),
                self._session.get(url, allow_redirects=False, ssl=tls) as response,
            ):
                body = await read_at_most(response, MAX_ENVELOPE_BYTES)
                return body.decode() if response.status == 200 else None
        except (aiohttp.ClientError, OSError, TimeoutError, UnicodeDecodeError) as error:
            log.info("node %s could not be asked for its advert: %s", listed.advert.node, type(error).__name__)
            return None

    async def _save_often(self) -> None:
        while True:
            await asyncio.sleep(_SAVE_EVERY_S)
            if self._unsaved:
                self._unsaved = False
                await asyncio.to_thread(self._snapshot.save, self._memory())

    def _memory(self) -> Memory:
        return Memory(self._trust.snapshot(self._clock()), self._names)


def _is_due(listed: Believed, now: float) -> bool:
    lifetime = listed.advert.expires_at - listed.advert.issued_at
    return listed.valid_until - now < lifetime / _RENEW_BEFORE
