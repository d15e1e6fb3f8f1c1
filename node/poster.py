"""Keeps one board up to date with the newest envelope, however long the board is away.

Not here: what the envelope says (advertiser).
"""

from __future__ import annotations

import asyncio
import logging
import random

from registry.backend import Backend, BackendError
from registry.envelope import Envelope

log = logging.getLogger("waypost.node")

_RETRY_FIRST_S = 1.0
_RETRY_MOST_S = 60.0
_PUBLISH_S = 60.0


class Poster:
    """One board. `post` replaces what is still to be posted; `run` posts it."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._wanted: Envelope | None = None
        self._posted: Envelope | None = None
        self._news = asyncio.Event()
        self._done = asyncio.Event()

    def __repr__(self) -> str:
        return f"<Poster {self._backend.url} {'up to date' if self._wanted is self._posted else 'behind'}>"

    def post(self, envelope: Envelope) -> None:
        """This is the newest; an older one that has not been posted yet never will be."""
        self._wanted = envelope
        self._done.clear()
        self._news.set()

    async def settled(self) -> None:
        """Return once the newest envelope is on the board."""
        await self._done.wait()

    async def run(self) -> None:
        """Post until cancelled."""
        failures = 0
        while True:
            await self._news.wait()
            self._news.clear()
            envelope = self._wanted
            if envelope is None or envelope is self._posted:
                continue
            if await self._publish(envelope, failures):
                failures = 0
                continue
            failures += 1
            await self._pause(failures)
            self._news.set()

    async def _publish(self, envelope: Envelope, failures: int) -> bool:
        try:
            async with asyncio.timeout(_PUBLISH_S):
                await self._backend.publish(envelope.to_json())
        except (BackendError, TimeoutError) as error:
            if failures == 0:
                log.warning(
                    "%s is away (%s); serving goes on, and so does trying", self._backend.url, error or "time-out"
                )
            return False
        if failures:
            log.info("%s is back", self._backend.url)
        self._posted = envelope
        if self._wanted is envelope:
            self._done.set()
        return True

    async def _pause(self, failures: int) -> None:
        """Exponential with jitter; ended early by something newer to post."""
        pause = min(_RETRY_FIRST_S * 2 ** min(failures - 1, 10), _RETRY_MOST_S)
        try:
            async with asyncio.timeout(pause * (0.75 + random.random() / 2)):  # noqa: S311 - not a secret
                await self._news.wait()
        except TimeoutError:
            return
