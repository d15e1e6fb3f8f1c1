"""One worker as its parent sees it: a process, what it has been told, and what it has counted.

Not here: starting it again (crew), and what runs in it (worker).
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from gateway.workers.channel import Channel, Kind, Silent
from gateway.workers.counts import Part
from gateway.workers.feed import Feed
from gateway.workers.shared import Shared

__all__ = ["Member", "Terms"]

log = logging.getLogger("waypost.gateway")

_SILENT_S = 60.0  # a worker answers each second; one that does not has hung, and is ended
_END_S = 5.0


@dataclass(frozen=True)
class Terms:
    """What every worker is started with: the options as JSON, the gateway key's secret in hex, where to listen, and
    the memory that workers share."""

    config: str
    secret: str
    address: tuple[int, str, int]
    shared: Shared


class Member:
    """One process, from its start to its end. `repr` shows what is known of it."""

    def __init__(
        self,
        number: int,
        terms: Terms,
        feed: Feed,
        on_serving: Callable[[], None],
        scrape: Callable[[], Awaitable[str]],
    ) -> None:
        self.number = number
        self.serving = False
        self.drained = asyncio.Event()
        self.ended = ""
        self._terms = terms
        self._feed = feed
        self._on_serving = on_serving
        self._scrape = scrape
        self._channel: Channel | None = None
        self._counted: asyncio.Future[Part] | None = None
        self._answering: set[asyncio.Task[None]] = set()

    def __repr__(self) -> str:
        return f"<Member {self.number} serving={self.serving} {self._feed!r}>"

    async def run(self) -> None:
        """Until the process has ended, by itself or because this is cancelled. `ended` says how."""
        process = None
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                process = await self._spawn(theirs)
            log.info("worker %d is process %d", self.number, process.pid)
            self._channel = await Channel.over(ours)
            await self._talk(process, self._channel)
        except (OSError, ValueError) as error:  # it could not be started, or says what makes no sense
            self.ended = str(error)
        finally:
            self.serving = False
            self.drained.set()
            self._close(ours)
            if self._counted is not None and not self._counted.done():
                self._counted.set_exception(ConnectionResetError("the worker has ended"))
            if process is not None:
                await self._reap(process)
            self._terms.shared.clear(self.number)

    async def send(self, kind: Kind, content: Any = None) -> None:
        """Say something, if there is still somebody there."""
        if self._channel is not None:
            with suppress(ConnectionError):
                await self._channel.send(kind, content)

    async def count(self, limit_s: float) -> Part:
        """What it has counted by now. Raises TimeoutError if it does not say so in time, ConnectionError if it ends."""
        self._counted = asyncio.get_running_loop().create_future()
        async with asyncio.timeout(limit_s):
            await self.send(Kind.COUNT)
            return await self._counted

    async def _spawn(self, theirs: socket.socket) -> asyncio.subprocess.Process:
        """It finds our modules where we found them, and nowhere else; a terminal's Ctrl-C is for us alone."""
        handed = theirs.fileno(), self._terms.shared.fd
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "gateway.workers.worker", *map(str, handed)),
            pass_fds=handed,
            stdin=asyncio.subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)},  # noqa: PTH109
            start_new_session=True,
        )

    async def _talk(self, process: asyncio.subprocess.Process, channel: Channel) -> None:
        terms = self._terms
        hello = {"number": self.number, "config": terms.config, "secret": terms.secret, "address": terms.address}
        tasks = {
            asyncio.create_task(process.wait()),
            asyncio.create_task(self._listen(channel)),
            asyncio.create_task(self._feed_it(channel, hello)),
        }
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        except Silent as silent:
            self.ended = str(silent)
        finally:
            for task in (*tasks, *self._answering):
                task.cancel()
            await asyncio.gather(*tasks, *self._answering, return_exceptions=True)

    async def _feed_it(self, channel: Channel, hello: dict[str, Any]) -> None:
        with suppress(ConnectionError):
            await channel.send(Kind.HELLO, hello)
            await self._feed.run(channel)

    async def _listen(self, channel: Channel) -> None:
        """Until the worker is gone. Raises Silent."""
        while (message := await channel.receive(_SILENT_S)) is not None:
            kind, content = message
            if kind is Kind.SERVING:
                self.serving = True
                self._on_serving()
            elif kind is Kind.DRAINED:
                self.drained.set()
            elif kind is Kind.COUNTED and self._counted is not None and not self._counted.done():
                self._counted.set_result(content)
            elif kind is Kind.SCRAPE:
                task = asyncio.create_task(self._answer_scrape())
                self._answering.add(task)
                task.add_done_callback(self._answering.discard)

    async def _answer_scrape(self) -> None:
        await self.send(Kind.METRICS, await self._scrape())

    def _close(self, ours: socket.socket) -> None:
        if self._channel is None:
            ours.close()
        else:
            self._channel.close()

    async def _reap(self, process: asyncio.subprocess.Process) -> None:
        """A worker whose parent is gone ends by itself; one that does not is killed."""
        try:
            async with asyncio.timeout(_END_S):
                status = await process.wait()
        except TimeoutError:
            process.kill()
            status = await process.wait()
        self.ended = self.ended or (f"signal {-status}" if status < 0 else f"exit status {status}")
