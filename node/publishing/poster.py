"""Keeps one board up to date with the newest envelope, however long the board is away, and says how that stands.

Not here: what the envelope says (advertiser).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass
from enum import StrEnum

from node.publishing.offers import without_warmth
from registry.advert import Advert
from registry.backend import Backend, BackendError, Pending, Rejected
from registry.envelope import Envelope

log = logging.getLogger("waypost.node")

_RETRY_FIRST_S = 1.0
_RETRY_MOST_S = 60.0
_REJECTED_MOST_S = 10.0  # the operator may just have mended it
_PUBLISH_S = 90.0
_TIDY_S = 30.0
_FAREWELL_S = 2.0  # what a board is at, when it is to be told of the stop
_TIDY_EVERY = 12  # a busy board is not asked to delete at each renewal


class Standing(StrEnum):
    """What became of the newest envelope on one board."""

    WAITING = "waiting"  # nothing to post yet, or about to
    POSTED = "posted"
    PENDING = "pending"  # taken, but not shown to readers yet
    REJECTED = "rejected"  # the operator has to mend something
    UNREACHABLE = "unreachable"


@dataclass(frozen=True)
class Posting:
    """An envelope and what it says."""

    envelope: Envelope
    advert: Advert


class Poster:
    """One board. `post` replaces what is still to be posted; `run` posts it."""

    def __init__(self, backend: Backend) -> None:
        self.standing = Standing.WAITING
        self._why = ""
        self._backend = backend
        self._wanted: Posting | None = None
        self._posted: Posting | None = None
        self._news = asyncio.Event()
        self._answered = asyncio.Event()
        self._tidied = asyncio.Event()
        self._asking: asyncio.Timeout | None = None  # the board, now
        self._count = 0

    def __repr__(self) -> str:
        return f"<Poster {self._backend.url} {self.standing}>"

    @property
    def url(self) -> str:
        return self._backend.url

    @property
    def up_to_date(self) -> bool:
        return self._wanted is self._posted

    def post(self, posting: Posting) -> None:
        """This is the newest; an older one that has not been posted yet never will be.

        Where posting costs money, another warmth alone is not worth it: readers get that from the node itself. A
        tombstone cannot wait for a board that hangs: soon nobody is there to post it.
        """
        if self._backend.paid and self._wanted is not None and _same_but_warmth(self._wanted, posting):
            return
        self._wanted = posting
        self._answered.clear()
        self._tidied.clear()
        self._news.set()
        if posting.advert.is_tombstone and self._asking is not None and not self._asking.expired():
            soon = asyncio.get_running_loop().time() + _FAREWELL_S
            self._asking.reschedule(min(soon, self._asking.when() or soon))

    async def answered(self) -> None:
        """Return once the newest envelope is on the board, or the board has refused it."""
        await self._answered.wait()

    async def tidied(self) -> None:
        """Return once the older ones have been tidied away too, or the board would not do it."""
        await self._tidied.wait()

    async def run(self) -> None:
        """Post until cancelled."""
        failures = 0
        while True:
            await self._news.wait()
            self._news.clear()
            wanted = self._wanted
            if wanted is None or wanted is self._posted:
                continue
            if await self._publish(wanted):
                failures = 0
                await self._tidy(wanted.advert)
                continue
            failures += 1
            await self._pause(failures)
            self._news.set()

    async def _publish(self, wanted: Posting) -> bool:
        try:
            async with self._limit(_PUBLISH_S):
                await self._backend.publish(wanted.envelope.to_json())
        except (BackendError, TimeoutError) as error:
            self._tell(_standing(error), str(error) or f"{self.url}: no answer in time")
            if self.standing is Standing.REJECTED and self._wanted is wanted:
                self._answered.set()
            return False
        self._tell(Standing.POSTED, "")
        self._posted = wanted
        if self._wanted is wanted:
            self._answered.set()
        return True

    def _tell(self, standing: Standing, why: str) -> None:
        """Say in the log what changed, once."""
        before, self.standing, self._why = (self.standing, self._why), standing, why
        if (standing, why) == before:
            return
        if standing is before[0]:
            log.info("%s (still %s)", why, standing)
            return
        if standing is Standing.POSTED:
            log.info("%s: posted", self._backend.url)
            return
        level = logging.ERROR if standing is Standing.REJECTED else logging.WARNING
        log.log(level, "%s (%s); serving goes on, and so does trying", why, standing)

    async def _tidy(self, advert: Advert) -> None:
        """At the first posting, at the last, and now and then: a tombstone is what retires, this only saves room."""
        due = advert.is_tombstone or self._count % _TIDY_EVERY == 0
        self._count += 1
        try:
            if due:
                async with self._limit(_TIDY_S):
                    await self._backend.retire(advert.operator, advert.node, advert.seq)
        except (BackendError, TimeoutError) as error:
            log.info("%s: older adverts are left where they are (%s)", self._backend.url, error or "time-out")
        self._tidied.set()

    @contextlib.asynccontextmanager
    async def _limit(self, seconds: float) -> AsyncIterator[None]:
        """Raises TimeoutError after that, or sooner where there is something to post that cannot wait."""
        try:
            async with asyncio.timeout(seconds) as self._asking:
                yield
        finally:
            self._asking = None

    async def _pause(self, failures: int) -> None:
        """Exponential with jitter; ended early by something newer to post."""
        most = _REJECTED_MOST_S if self.standing is Standing.REJECTED else _RETRY_MOST_S
        pause = min(_RETRY_FIRST_S * 2 ** min(failures - 1, 10), most)
        try:
            async with asyncio.timeout(pause * (0.75 + random.random() / 2)):  # noqa: S311 - not a secret
                await self._news.wait()
        except TimeoutError:
            return


def _same_but_warmth(one: Posting, other: Posting) -> bool:
    return one.envelope.delegation == other.envelope.delegation and _lasting(one.advert) == _lasting(other.advert)


def _lasting(advert: Advert) -> Advert:
    """What is the same in two adverts that differ in warmth alone, and in when they were signed."""
    return advert.model_copy(update={"seq": 0, "issued_at": 0, "offers": without_warmth(advert.offers)})


def _standing(error: Exception) -> Standing:
    if isinstance(error, Rejected):
        return Standing.REJECTED
    return Standing.PENDING if isinstance(error, Pending) else Standing.UNREACHABLE
