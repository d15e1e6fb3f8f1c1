"""What runs on the hosts: a gateway, speakers, and a door for the test to the gateway's host.

Registry and logs are files that all share: a namespace hides the network alone. Not here: hosts and cables (hosts),
faults, and how a client hears a stream (hearing).
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from registry.keys import NodeKey
from tests.gateway.adverts import digest, offer
from tests.gateway.scene import Operator
from tests.network.hosts import Host, Network
from tests.network.speaker import MODEL
from tests.programs import ROOT, Program, free_port, healthy, running

_HERE = ROOT / "tests" / "network"
PORT = 8000
_PROXY_PORT = 8001
# Options of a gateway that soon looks elsewhere, and of one that waits for as long as a test may take.
SHORT = ("--connect-s", "1", "--head-s", "3", "--first-token-s", "3", "--gap-s", "2", "--queue-s", "1")
LONG = ("--connect-s", "50", "--head-s", "50", "--first-token-s", "50", "--gap-s", "50")
_GATEWAY_PORT = 8800
_TOTAL = re.compile(r"^waypost_gateway_(\w+)_total\{(.*)\} ([0-9.e+]+)$", re.MULTILINE)


@dataclass(frozen=True)
class Speaker:
    """A running `speaker.py`: where it is, its key, and what `user` asked of it.

    What an earlier test has sent into a broken network may arrive as soon as that is healed.
    """

    host: Host
    key: NodeKey
    record: Path
    user: str

    @property
    def url(self) -> str:
        return f"http://{self.host.address}:{PORT}"

    def asked(self) -> list[Any]:
        """The bodies of the requests that have reached it, in order."""
        lines = self.record.read_text().splitlines() if self.record.exists() else []
        return [body for body in map(json.loads, lines) if body["user"] == self.user]


@contextlib.asynccontextmanager
async def speaking(network: Network, folder: Path, name: str, user: str = "") -> AsyncIterator[Speaker]:
    """A host with a speaker on it, which nobody knows of yet."""
    with network.host(name) as host:
        key = NodeKey.new()
        key.save(folder / f"{name}.key")
        made = Speaker(host, key, folder / f"{name}.jsonl", user)
        secret = (folder / f"{name}.key").read_text().strip()
        words = [str(_HERE / "speaker.py"), "--host", "0.0.0.0", "--port", str(PORT), "--key", secret]
        words += ["--record", str(made.record)]
        async with host.running(words, folder / f"{name}.txt") as program:
            await program.saw("listens")
            yield made


@contextlib.asynccontextmanager
async def door(gateway: Host, folder: Path) -> AsyncIterator[str]:
    """A URL of this machine that leads to whatever gateway serves on that host."""
    port = free_port()
    words = [str(_HERE / "proxy.py"), "--listen", f"127.0.0.1:{port}", "--dial-in", gateway.namespace]
    words += ["--to", f"{gateway.address}:{_GATEWAY_PORT}"]
    async with running(words, folder / "door.txt") as program:
        await program.saw("listens")
        yield f"http://127.0.0.1:{port}"


@dataclass
class Scene:
    """Everything there is. `url` leads to the gateway from where the tests run; `user` asks in this test alone."""

    folder: Path
    network: Network
    gateway: Host
    url: str
    operator: Operator
    user: str = ""
    speakers: list[Speaker] = field(default_factory=list)

    def speaker(self, key: str) -> Speaker:
        """By node key, as the header names it."""
        return next(each for each in self.speakers if each.key.public == key)

    def others(self, speaker: Speaker) -> list[Speaker]:
        return [each for each in self.speakers if each is not speaker]

    async def advertise(self, speaker: Speaker, *, url: str = "") -> None:
        """All speakers have the same weights, template and engine, and room for all: who waits is not asked here. The
        one advertised first is asked first."""
        same = offer(MODEL, "5b", template_sha256=digest("7e"), resume=True, parallel=16)
        await self.operator.post(self.operator.sign(speaker.key, url or speaker.url, offers=[same]))

    @contextlib.asynccontextmanager
    async def another(self, name: str) -> AsyncIterator[Speaker]:
        """A further host with a speaker, not advertised yet."""
        async with speaking(self.network, self.folder, name, self.user) as made:
            self.speakers.append(made)
            yield made

    async def only(self, speaker: Speaker, *, url: str = "") -> None:
        """All others are retired, and this one is advertised."""
        for each in self.others(speaker):
            await self.operator.post(self.operator.sign(each.key, each.url))
        await self.advertise(speaker, url=url)

    @contextlib.asynccontextmanager
    async def delayed(self, speaker: Speaker, delay_s: float) -> AsyncIterator[str]:
        """A URL on the speaker's host, from which everything takes so long to the speaker, and back."""
        place = f"{speaker.host.address}:{_PROXY_PORT}"
        words = ["--listen", place, "--to", f"127.0.0.1:{PORT}", "--delay-s", str(delay_s)]
        async with speaker.host.running([str(_HERE / "proxy.py"), *words], self.folder / "proxy.txt") as program:
            await program.saw("listens")
            yield f"http://{place}"

    @contextlib.asynccontextmanager
    async def gateway_serves(self, *options: str, proven: int) -> AsyncIterator[Program]:
        """The gateway, once so many nodes have proven themselves to it."""
        listen = f"{self.gateway.address}:{_GATEWAY_PORT}"
        words = ["-m", "waypost", "gateway", "serve", "--listen", listen, "--open", "--allow-private"]
        words += ["--registry", self.operator.registry, "--trust", self.operator.wallet.address]
        words += ["--state", str(self.folder), "--drain-s", "0", *options]
        async with self.gateway.running(words, self.folder / "gateway.txt") as program:
            await self.proven(proven, program)
            yield program

    async def proven(self, nodes: int, program: Program) -> None:
        """Wait until so many have proven themselves to the gateway."""
        async with aiohttp.ClientSession() as session:
            await healthy(session, f"{self.url}/health", program, lambda health: health["proven"] >= nodes)

    async def listed(self) -> int:
        """How many nodes the gateway says that the model has."""
        async with aiohttp.ClientSession() as session, session.get(f"{self.url}/v1/models/{MODEL}") as response:
            nodes: int = (await response.json())["nodes"]
            return nodes

    async def total(self, name: str, **labels: str) -> float:
        """What the gateway has counted under that name, over all that have these labels."""
        async with aiohttp.ClientSession() as session, session.get(f"{self.url}/metrics") as response:
            page = await response.text()
        wanted = [f'{label}="{value}"' for label, value in labels.items()]
        found = [number for counted, given, number in _TOTAL.findall(page) if counted == name and _has(given, wanted)]
        return sum(map(float, found))


def _has(given: str, wanted: Sequence[str]) -> bool:
    return all(each in given.split(",") for each in wanted)
