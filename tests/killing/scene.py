"""Several real nodes that serve one model, and a gateway that knows them all.

Not here: the nodes' own lives (host), and who asks (caller).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from registry.keys import NodeKey, Wallet
from tests.killing.crossing import Crossing
from tests.killing.host import MODEL, Host, new_host
from tests.programs import Program, free_port, healthy, running

_USABLE_S = 60.0
_ASK_EVERY_S = 0.1
_RESUMES = "waypost_gateway_resumes"
_LIMIT = aiohttp.ClientTimeout(20)


@dataclass
class Scene:
    """All of it, running. `port` is the gateway's."""

    hosts: Sequence[Host]
    port: int
    gateway: Program

    def host(self, key: str) -> Host:
        return next(host for host in self.hosts if host.key == key)

    def forget(self) -> None:
        """What has passed over the crossings so far."""
        for host in self.hosts:
            if host.crossing is not None:
                host.crossing.forget()

    async def usable(self, host: Host) -> None:
        """Wait until the gateway sends requests to that node, again if it was away."""
        url = f"http://127.0.0.1:{self.port}/vm/{host.key}/v1/chat/completions"
        body = {"model": MODEL, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1}
        said = ""
        try:
            async with asyncio.timeout(_USABLE_S), aiohttp.ClientSession(timeout=_LIMIT) as session:
                while True:
                    async with session.post(url, json=body) as response:
                        said = f"{response.status} {await response.text()}"
                        if response.status == 200:
                            return
                    await asyncio.sleep(_ASK_EVERY_S)
        except TimeoutError:
            raise AssertionError(f"{host.name} was not asked again within {_USABLE_S} s; last {said}") from None

    async def resumes(self) -> dict[tuple[str, str], int]:
        """(way, outcome) -> how often, as the gateway has counted."""
        url = f"http://127.0.0.1:{self.port}/metrics"
        async with aiohttp.ClientSession(timeout=_LIMIT) as session, session.get(url) as response:
            families = list(text_string_to_metric_families(await response.text()))
        return {
            (sample.labels["way"], sample.labels["outcome"]): int(sample.value)
            for family in families if family.name == _RESUMES
            for sample in family.samples if sample.name == f"{_RESUMES}_total"
        }  # fmt: skip


@dataclass(frozen=True)
class Crew:
    """Nodes without a gateway; `words` are what each of its gateways is told."""

    folder: Path
    hosts: Sequence[Host]
    words: Sequence[str]


@contextlib.asynccontextmanager
async def scene(
    folder: Path, hosts: int, *, model: Mapping[str, Any], words: Sequence[str] = (), crossed: bool = False
) -> AsyncIterator[Scene]:
    """That many nodes, and a gateway with these further words to its command."""
    async with crew(folder, hosts, model=model, crossed=crossed) as made, serve(made, "gateway", words) as running_now:
        yield running_now


@contextlib.asynccontextmanager
async def crew(folder: Path, hosts: int, *, model: Mapping[str, Any], crossed: bool) -> AsyncIterator[Crew]:
    """Nodes with that model loaded; `model` are its settings. `crossed`: each is reached over a crossing."""
    operator, key = Wallet.new(), NodeKey.new()
    key.save(folder / "gateway.key")
    registry = f"sqlite:///{folder}/registry.db"
    options = {"registry": [registry], "access": [key.public]}
    words = ("--registry", registry, "--trust", operator.address, "--gateway-key", str(folder / "gateway.key"))
    async with contextlib.AsyncExitStack() as exits:
        made = []
        for number in range(hosts):
            crossing = await Crossing.open(free_port()) if crossed else None
            made.append(new_host(folder / f"node{number + 1}", operator, options, model, crossing))
            exits.push_async_callback(made[-1].stop)
        await asyncio.gather(*(host.start() for host in made))
        yield Crew(folder, made, words)


@contextlib.asynccontextmanager
async def serve(made: Crew, name: str, words: Sequence[str]) -> AsyncIterator[Scene]:
    """A gateway before these nodes, once it may use each of them."""
    port = free_port()
    command = ["-m", "waypost", "gateway", "serve", "--listen", f"127.0.0.1:{port}", "--open", "--allow-private"]
    command += ["--state", str(made.folder / name), *made.words, *words]
    async with running(command, made.folder / f"{name}.txt") as program, aiohttp.ClientSession() as session:
        url = f"http://127.0.0.1:{port}/health"
        await healthy(session, url, program, lambda health: health["proven"] >= len(made.hosts))
        found = Scene(made.hosts, port, program)
        for host in made.hosts:
            await found.usable(host)
        yield found
