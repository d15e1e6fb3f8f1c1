"""A gateway in front of a real node with an external engine, and of nodes of every manner, for tests of the proxy."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from registry.keys import NodeKey
from tests.fakes.external import External, external
from tests.gateway.adverts import offer
from tests.gateway.proxied_node import Proxied, proxied_node
from tests.gateway.scene import new_scene
from tests.node.agent import agent
from tests.programs import free_port
from tests.stack import Stack, serve_gateway

PATHS = ["/embed", "/echo/*", "/both", "/sum", "/hold", "/flood", "/cut", "/status/*", "/drop", "/ws"]
BGE = {"X-GPUStack-Model": "bge-m3"}
MANNERS = ("drop", "500", "503", "429", "401", "403", "404", "dead")
METHODS = ("GET", "HEAD", "POST", "DELETE")


@dataclass
class Scene:
    """A gateway in front of a real node with an external engine, and of nodes of every manner."""

    stack: Stack
    node: str
    engine: External
    good: Proxied
    bad: dict[str, Proxied]

    def url(self, path: str, vm: str = "") -> str:
        return f"{self.stack.gateway_url}{vm}/model/proxy{path}"

    def peak_bytes(self) -> int:
        """The most memory that the gateway's process has ever had."""
        assert self.stack.gateway is not None
        status = Path(f"/proc/{self.stack.gateway.pid}/status").read_text()
        return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))) * 1024


@asynccontextmanager
async def proxy_scene(folder: Path) -> AsyncIterator[Scene]:
    """All of them, running. Each bad node offers `MANNER-or-good` beside the good one, and alone `MANNER-only-METHOD`.

    One for each method, since a node that has failed three times with a model is not asked for it.
    """
    stack, operator = new_scene(folder)
    gateway = NodeKey.new()
    gateway.save(folder / "gateway.key")
    async with AsyncExitStack() as exits:
        engine = await exits.enter_async_context(external(folder))
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        models = {"bge-m3": {"uri": f"openai+{engine.url}", "proxy": PATHS, "aliases": ["bge"]}}
        options = {"listen": f"127.0.0.1:{port}", "public_url": url, "access": [gateway.public]}
        node = await exits.enter_async_context(agent(folder, models, **options))
        good = await exits.enter_async_context(proxied_node("200"))
        bad = {m: await exits.enter_async_context(proxied_node("200" if m == "dead" else m)) for m in MANNERS}
        offers = [offer("bge-m3", aliases=["bge"], endpoints=["proxy"])]
        await operator.post(operator.sign(NodeKey.load(folder / "state" / "node.key"), url, offers=offers))
        for manner, one in bad.items():
            names = (f"{manner}-or-good", *(f"{manner}-only-{method}" for method in METHODS))
            at = f"http://127.0.0.1:{free_port()}" if manner == "dead" else one.url
            await operator.post(operator.sign(one.key, at, offers=[offer(n, endpoints=["proxy"]) for n in names]))
        offers = [offer(f"{manner}-or-good", endpoints=["proxy"]) for manner in MANNERS] + [offer("chat-only")]
        await operator.post(operator.sign(good.key, good.url, offers=offers))
        await exits.enter_async_context(serve_gateway(stack, ("--open", "--gap-s", "3"), proven=len(MANNERS) + 1))
        yield Scene(stack, node.key, engine, good, bad)


async def refused(response: aiohttp.ClientResponse) -> tuple[int, str | None, str]:
    """Status, code and message of an error in OpenAI's envelope."""
    error = (await response.json())["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return response.status, error["code"], error["message"]
