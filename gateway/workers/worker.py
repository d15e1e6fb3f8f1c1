"""A worker's process: it serves what its parent tells it of, until the parent says stop, or is gone.

Started by `member` with the numbers of its end of the channel, and of the memory that workers share. Signals are the
parent's to heed: a service manager may send them to all processes alike. Not here: what answers requests (plane), and
what is known (replica).
"""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import sys
from collections.abc import Callable
from typing import Any

import uvloop
from pydantic import ValidationError

from gateway import certificate
from gateway.api import Gateway
from gateway.certificate import CertificateError
from gateway.collecting import collect_seldom
from gateway.config import GatewayConfig
from gateway.keys import KeyFileError
from gateway.workers import counts
from gateway.workers.channel import Channel, Kind, Silent
from gateway.workers.plane import DataPlane, answer, outward
from gateway.workers.port import join
from gateway.workers.replica import Replica
from gateway.workers.rounds import Rounds
from gateway.workers.shared import Shared
from registry.keys import NodeKey
from relay.errors import Unavailable

log = logging.getLogger("waypost.gateway")

_HELLO_S = 30.0
_SILENT_S = 60.0  # a parent says something each second; without one that does, what is known here gets old
_ALIVE_S = 1.0
_SCRAPE_S = 5.0


def main() -> int:
    """Returns the exit status."""
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_IGN)
    return uvloop.run(_work(socket.socket(fileno=int(sys.argv[1])), int(sys.argv[2])))


async def _work(end: socket.socket, shared_fd: int) -> int:
    channel = await Channel.over(end)
    first = await channel.receive(_HELLO_S)
    if first is None:
        return 0
    hello = first[1]
    form = f"%(asctime)s %(levelname)s %(name)s worker {hello['number']}: %(message)s"
    logging.basicConfig(stream=sys.stderr, format=form)
    try:
        config = GatewayConfig.model_validate_json(hello["config"])
        logging.getLogger().setLevel(config.log_level.upper())
        shared = Shared(shared_fd, config.workers, hello["number"])
        key = NodeKey(bytes.fromhex(hello["secret"]))
        await Worker(channel, config, key, hello["address"], shared).run()
    except ValidationError:
        log.error("the parent has options that are unknown here: it runs another version; start the gateway again")
        return 1
    except (KeyFileError, CertificateError, OSError) as error:
        log.error("%s", error)
        return 1
    return 0


class Worker:
    """One data plane over one replica."""

    def __init__(
        self, channel: Channel, config: GatewayConfig, key: NodeKey, address: tuple[int, str, int], shared: Shared
    ) -> None:
        self._channel = channel
        self._config = config
        self._address = address
        self._scrapes = Rounds(self._scrape)
        self._scraped: asyncio.Future[str] | None = None
        self._tls = certificate.load(config.tls_certificate) if config.tls_certificate else None
        self._plane = DataPlane(config, key, self._scrapes.ask, shared)
        self._replica = Replica(config.pins(), self._plane.forget)
        self._drain: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self._refuse: Callable[[], None] = lambda: None
        self._serving = asyncio.Event()
        self._stop = asyncio.Event()

    def __repr__(self) -> str:
        return f"<Worker {self._replica!r}>"

    async def run(self) -> None:
        """Raises OSError where the port is not to be had."""
        obeying = asyncio.create_task(self._obey())
        serving = asyncio.create_task(self._serve())
        beside = [asyncio.create_task(work) for work in (self._say_alive(), collect_seldom(self._replica.ready))]
        try:
            await asyncio.wait((obeying, serving), return_when=asyncio.FIRST_COMPLETED)
            self._stop.set()
            if self._serving.is_set() or serving.done():
                await serving  # what runs has its time to end
            if obeying.done():
                obeying.result()
        finally:
            for task in (obeying, serving, *beside):
                task.cancel()
            await asyncio.gather(obeying, serving, *beside, return_exceptions=True)
            await self._scrapes.close()
            self._channel.close()

    async def _serve(self) -> None:
        """From when all is known that there is to know."""
        await self._replica.whole.wait()
        async with (
            outward(self._config) as session,
            self._plane.gateway(session, self._replica, self._replica) as gateway,
        ):
            self._refuse = gateway.refuse
            beside = [asyncio.create_task(work) for work in (self._say_serving(), self._drained(gateway))]
            try:
                _, host, port = self._address
                sock = join(self._address)
                await answer(gateway, (host, port), self._stop, lambda *_: self._serving.set(), self._tls, sock)
            finally:
                for task in beside:
                    task.cancel()
                await asyncio.gather(*beside, return_exceptions=True)

    async def _say_serving(self) -> None:
        await self._serving.wait()
        log.info("serving")
        await self._channel.send(Kind.SERVING)

    async def _say_alive(self) -> None:
        while True:
            await self._channel.send(Kind.ALIVE)
            await asyncio.sleep(_ALIVE_S)

    async def _drained(self, gateway: Gateway) -> None:
        """Until the parent says stop, this worker goes on refusing: others may have longer to drain."""
        await gateway.drain(await self._drain)
        await self._channel.send(Kind.DRAINED)

    async def _obey(self) -> None:
        """Until the parent says stop, or is gone."""
        try:
            while (message := await self._channel.receive(_SILENT_S)) is not None:
                kind, content = message
                if kind is Kind.STOP:
                    return
                await self._heed(kind, content)
            log.warning("no parent any more: stopping")
        except ConnectionError:
            log.warning("no parent any more: stopping")
        except Silent as silent:
            log.error("the parent hangs (%s): stopping", silent)

    async def _heed(self, kind: Kind, content: Any) -> None:
        if await self._replica.take(kind, content):
            return
        if kind is Kind.COUNT:
            await self._channel.send(Kind.COUNTED, counts.part(self._plane.metrics.collect()))
        elif kind is Kind.METRICS and self._scraped is not None and not self._scraped.done():
            self._scraped.set_result(content)
        elif kind is Kind.DRAIN and not self._drain.done():
            self._refuse()
            self._drain.set_result(content)

    async def _scrape(self) -> bytes:
        """The text of all workers' metrics, by the parent. Raises Unavailable."""
        self._scraped = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(_SCRAPE_S):
                await self._channel.send(Kind.SCRAPE)
                return (await self._scraped).encode()
        except (TimeoutError, ConnectionError) as error:
            raise Unavailable("The metrics could not be gathered.", code="no_metrics", retry_after_s=1) from error


if __name__ == "__main__":
    sys.exit(main())
