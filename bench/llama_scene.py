"""What bench.llama measures: a node with its llama-server and a gateway, as their users start them, on this machine.

The gateway has API keys and reads a SQLite registry, where it finds the node, which has its defaults but for how many
requests it takes at once. The bare engine is the node's own llama-server, asked at the socket that the node gave it: no
second process, so there is nothing in which the two could differ. Not here: asking (llama_client).
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from bench.delegation import new_node
from bench.keepers import models_of
from bench.llama_client import Door
from bench.llama_run import ENGINE, GATEWAY, NODE
from deploy import demo
from deploy.plan import toml
from node.engines.llama import find_build
from registry.keys import NodeKey, Wallet
from tests.programs import Program, free_port, healthy, running, waypost

_MODEL = demo.CHAT.name
_POLL = aiohttp.ClientTimeout(5)
_PLACE = re.compile(r"/\S*/")


class NotStarted(Exception):
    """What is to be measured does not run; the text says why."""


@dataclass(frozen=True)
class Scene:
    """`pids` are of the engine, the node agent and the gateway, by these names; `arguments` the engine's own."""

    bare: Door
    through: Door
    pids: dict[str, int]
    arguments: Sequence[str]
    engine: str  # its version

    def shown(self) -> str:
        """The engine's command line, without folders."""
        return _PLACE.sub("", " ".join(self.arguments))


@asynccontextmanager
async def scene(folder: Path, slots: int) -> AsyncIterator[Scene]:
    """All of it, ready, until the context ends. Raises NotStarted."""
    async with AsyncExitStack() as exits:
        try:
            made = await _started(exits, folder, slots)
        except AssertionError as error:  # with the end of what the program wrote
            raise NotStarted(str(error)) from error
        except demo.NotInstalled as missing:
            raise NotStarted(f"{missing} is not set up; run make environment") from missing
        yield made


async def _started(exits: AsyncExitStack, folder: Path, slots: int) -> Scene:
    operator, asking = Wallet.new(), NodeKey.new()
    asking.save(folder / "gateway.key")
    registry = f"sqlite:///{folder}/registry.db"
    async with aiohttp.ClientSession(timeout=_POLL) as session:
        node = await _node(exits, session, folder, {"registry": [registry], "access": [asking.public]}, operator, slots)
        key = (await waypost("gateway", "key", "new", "bench", "--api-keys", "keys.json", cwd=folder)).strip()
        gateway, port = await _gateway(exits, session, folder, registry, operator)
    engine = models_of(node.pid)[_MODEL]
    words = _words(engine)
    pids = {ENGINE: engine, NODE: node.pid, GATEWAY: gateway.pid}
    version = (await find_build(None)).version  # the node's default too
    socket = Path(words[words.index("--host") + 1])
    return Scene(Door(socket, _MODEL), Door(port, _MODEL, key), pids, words, version)


def _words(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")[:-1]


async def _node(
    exits: AsyncExitStack,
    session: aiohttp.ClientSession,
    folder: Path,
    options: dict[str, object],
    operator: Wallet,
    slots: int,
) -> Program:
    own, url = folder / "node", f"http://127.0.0.1:{free_port()}"
    own.mkdir()
    new_node(own, operator)
    table = {"listen": url.removeprefix("http://"), "public_url": url, "state": str(own), **options}
    model = {**demo.CHAT.options(), "parallel": slots}
    (own / "waypost.toml").write_text(toml("node", table) + toml(f'node.models."{_MODEL}"', model))
    command = ("-m", "waypost", "node", "serve", "--config", str(own / "waypost.toml"))
    program = await exits.enter_async_context(running(command, own / "log.txt"))
    await healthy(session, f"{url}/health", program, lambda health: health["models"][_MODEL]["state"] == "ready")
    return program


async def _gateway(
    exits: AsyncExitStack, session: aiohttp.ClientSession, folder: Path, registry: str, operator: Wallet
) -> tuple[Program, int]:
    port = free_port()
    words = ["-m", "waypost", "gateway", "serve", "--listen", f"127.0.0.1:{port}", "--registry", registry]
    words += ["--trust", operator.address, "--allow-private", "--api-keys", str(folder / "keys.json")]
    words += ["--gateway-key", str(folder / "gateway.key"), "--state", str(folder), "--log-level", "warning"]
    program = await exits.enter_async_context(running(words, folder / "gateway.txt"))
    await healthy(session, f"http://127.0.0.1:{port}/health", program, lambda health: health["proven"] >= 1)
    return program, port
