"""Our own relays as bench.relay measures them: a gateway, a node, and one behind the other, as their users start them.

API keys are on, and nodes are published, trusted and proven like any other. Not here: the peers (relay_peers).
"""

from __future__ import annotations

import asyncio
import secrets
import ssl
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import aiohttp
import orjson

from bench.delegation import new_node
from bench.relay_load import MODEL, Door
from bench.relay_programs import NotToBeHad, Program, program
from bench.relay_scene import ROOT, Running, Scene, Start
from deploy.plan import toml
from registry.advert import Advert, Offer
from registry.backend import open_backend
from registry.keys import NodeKey, Wallet
from registry.signing import next_seq, sign_advert
from tests.programs import free_port

_MODELS = tuple(f"bench-{number}" for number in range(24))  # a model takes at most 256 requests at once at a node
_PARALLEL = 256
_WAYPOST = (sys.executable, "-m", "waypost")
_UP_S = 60.0


def gateway(*, workers: int = 1, tls: bool = False, upstream_tls: bool = False) -> Start:
    """Before the synthetic engine, which plays the node. With TLS to its clients, or to the engine."""

    @asynccontextmanager
    async def start(scene: Scene) -> AsyncIterator[Running]:
        folder = _own(scene)
        url = f"https://127.0.0.1:{scene.tls_port}" if upstream_tls else f"http://127.0.0.1:{scene.port}"
        operator = Wallet.new()
        spki = scene.certificate.spki if upstream_tls else None
        await _publish(folder, operator, scene.node, url, spki)
        words = _optional("--workers", str(workers)) if workers > 1 else []
        words += _optional("--tls-certificate", str(scene.certificate.file)) if tls else []
        trusting = scene.trusting() if tls else None
        async with _gateway(folder, operator, NodeKey.new(), words, trusting) as (door, running):
            yield Running(door, (running.pid,))

    return start


def node(*, upstream_tls: bool = False) -> Start:
    """Before the synthetic engine, an external one to it."""

    @asynccontextmanager
    async def start(scene: Scene) -> AsyncIterator[Running]:
        folder, key = _own(scene), f"sk-{secrets.token_hex(16)}"
        _keep(folder / "keys.txt", key + "\n")
        async with _node(scene, folder, {"access": [f"keys:{folder}/keys.txt"]}, upstream_tls) as (port, running):
            yield Running(Door(port, _MODELS, key), (running.pid,))

    return start


@asynccontextmanager
async def both(scene: Scene) -> AsyncIterator[Running]:
    """A gateway before a node before the synthetic engine; their cost together."""
    folder, operator, shown = _own(scene), Wallet.new(), NodeKey.new()
    new_node(folder, operator)
    options = {"registry": [f"sqlite:///{folder}/registry.db"], "access": [shown.public]}
    async with (
        _node(scene, folder, options) as (_, agent),
        _gateway(folder, operator, shown) as (door, running),
    ):
        yield Running(Door(door.port, _MODELS, door.key), (running.pid, agent.pid))


@asynccontextmanager
async def _gateway(
    folder: Path, operator: Wallet, key: NodeKey, more: Sequence[str] = (), trusting: ssl.SSLContext | None = None
) -> AsyncIterator[tuple[Door, Program]]:
    port, keys = free_port(), folder / "keys.json"
    key.save(folder / "gateway.key")
    shown = _new_key(keys)
    words = [*_WAYPOST, "gateway", "serve", "--listen", f"127.0.0.1:{port}", "--trust", operator.address]
    words += ["--registry", f"sqlite:///{folder}/registry.db", "--allow-private", "--api-keys", str(keys)]
    words += ["--gateway-key", str(folder / "gateway.key"), "--state", str(folder), "--log-level", "warning", *more]
    async with program(words, folder, port, env={"PYTHONPATH": str(ROOT)}) as running:
        await _healthy(port, running, lambda health: health["proven"] >= 1, trusting)
        yield Door(port, key=shown, tls=trusting), running


def _new_key(keys: Path) -> str:
    words = (*_WAYPOST, "gateway", "key", "new", "bench", "--api-keys", keys)
    return subprocess.run(words, cwd=ROOT, capture_output=True, check=True, text=True).stdout.strip()


@asynccontextmanager
async def _node(
    scene: Scene, folder: Path, options: dict[str, object], upstream_tls: bool = False
) -> AsyncIterator[tuple[int, Program]]:
    port = free_port()
    url = f"https://127.0.0.1:{scene.tls_port}" if upstream_tls else f"http://127.0.0.1:{scene.port}"
    keys = {name: str(folder / f"{name.replace('_key', '.key')}") for name in ("node_key", "delegate_key")}
    table = {
        "listen": f"127.0.0.1:{port}", "public_url": f"http://127.0.0.1:{port}", "state": str(folder),
        "log_level": "warning", "delegation": str(folder / "delegation.json"), **keys, **options,
    }  # fmt: skip
    model = {"uri": f"openai+{url}", "parallel": _PARALLEL}
    models = "".join(toml(f'node.models."{name}"', model) for name in _MODELS)
    _keep(folder / "waypost.toml", toml("node", table) + models)
    words = (*_WAYPOST, "node", "serve", "--config", str(folder / "waypost.toml"))
    env = {"PYTHONPATH": str(ROOT), "SSL_CERT_FILE": str(scene.certificate.file)}
    async with program(words, folder, port, env=env) as running:
        await _healthy(port, running, lambda health: all(at["state"] == "ready" for at in health["models"].values()))
        yield port, running


async def _publish(folder: Path, operator: Wallet, node: NodeKey, url: str, spki: str | None) -> None:
    """One advert of one model, signed by the operator itself."""
    now = time.time()
    offer = Offer(
        model=MODEL, aliases=(), endpoints=("chat.completions",), weights_sha256=None, template_sha256=None,
        quantization=None, context_length=8192, parallel=100_000, modalities=("text",), engine="synthetic/1",
        resume=False, warm=True, prices=(),
    )  # fmt: skip
    advert = Advert(
        operator=operator.address, node=node.public, seq=next_seq(now, 0), issued_at=int(now), url=url,
        expires_at=int(now) + 80_000, tls_spki_sha256=spki, offers=(offer,),
    )  # fmt: skip
    board = open_backend(f"sqlite:///{folder}/registry.db")
    try:
        await board.publish(sign_advert(advert, operator, node, None).to_json())
    finally:
        await board.close()


async def _healthy(
    port: int, running: Program, good: Callable[[dict[str, Any]], bool], tls: ssl.SSLContext | None = None
) -> None:
    deadline, last = time.monotonic() + _UP_S, "nothing"
    url = f"{'https' if tls else 'http'}://127.0.0.1:{port}/health"
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(5)) as session:
        while time.monotonic() < deadline:
            with suppress(aiohttp.ClientError, TimeoutError):
                async with session.get(url, ssl=tls or True) as response:
                    last = await response.text()
                    if response.status == 200 and good(orjson.loads(last)):
                        return
            await asyncio.sleep(0.05)
    raise NotToBeHad(f"it is not ready after {_UP_S:.0f} s; its health: {last[:200]}; its log: {running.log}")


def version() -> str:
    """Of this checkout."""
    words = ("git", "describe", "--always", "--dirty")
    said = subprocess.run(words, cwd=ROOT, capture_output=True, check=False, text=True).stdout.strip()
    return f"waypost {metadata.version('waypost')} {said}, uvloop {metadata.version('uvloop')}"


def _own(scene: Scene) -> Path:
    folder = scene.folder / secrets.token_hex(4)
    folder.mkdir(mode=0o700)
    return folder


def _keep(file: Path, text: str) -> None:
    file.touch(mode=0o600)
    file.write_text(text)


def _optional(option: str, value: str) -> list[str]:
    """An option that not every version of our gateway has."""
    if option not in _help():
        raise NotToBeHad(f"this gateway has no {option}")
    return [option, value]


@cache
def _help() -> str:
    words = (*_WAYPOST, "gateway", "serve", "--help")
    return subprocess.run(words, cwd=ROOT, capture_output=True, check=True, text=True).stdout
