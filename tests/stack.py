"""A whole Waypost on this machine, made with the commands that its users type."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from deploy import demo
from deploy.plan import toml
from tests.fakes.external import external
from tests.programs import Program, free_port, healthy, running, waypost

MODEL, ALIAS = demo.CHAT.name, demo.CHAT.alias
EMBEDDING_MODEL, EMBEDDING_ALIAS = demo.EMBEDDING.name, demo.EMBEDDING.alias
IMAGE_MODEL, IMAGE_ALIAS = demo.IMAGE.name, demo.IMAGE.alias
SPEECH_MODEL, SPEECH_ALIAS = demo.SPEECH.name, demo.SPEECH.alias
TRANSCRIPTION_MODEL, TRANSCRIPTION_ALIAS = demo.TRANSCRIPTION.name, demo.TRANSCRIPTION.alias
VISION_MODEL, VISION_ALIAS = demo.VISION.name, demo.VISION.alias
PROXIED_MODEL = "bge-m3"  # tests.fakes.embed_engine, at /model/proxy/embed of the full stack
EMBEDDING_WEIGHTS = Path(str(demo.EMBEDDING.options()["uri"]))
MODEL_OF: Mapping[str, str] = {  # which model of the full stack answers on which endpoint
    "chat.completions": MODEL,
    "completions": MODEL,
    "responses": MODEL,
    "messages": MODEL,
    "embeddings": EMBEDDING_MODEL,
    "rerank": EMBEDDING_MODEL,
    "images.generations": IMAGE_MODEL,
    "images.edits": IMAGE_MODEL,
    "audio.speech": SPEECH_MODEL,
    "audio.transcriptions": TRANSCRIPTION_MODEL,
    "audio.translations": TRANSCRIPTION_MODEL,
}


@dataclass
class Node:
    """One node agent and what is known of it."""

    url: str
    key: str
    program: Program


@dataclass
class Stack:
    """Where everything is. `gateway_url` and the nodes' URLs have no path."""

    folder: Path
    registry: str
    operator: str
    gateway_url: str = ""
    gateway_key: str = ""
    gateway: Program | None = None
    nodes: list[Node] = field(default_factory=list)

    @property
    def base_url(self) -> str:
        return f"{self.gateway_url}/v1"


@contextlib.asynccontextmanager
async def whole_stack(
    folder: Path,
    weights: Path,
    *,
    gateway: Sequence[str] = ("--open",),
    flags: Sequence[str] = ("--verbose",),
    embedding: bool = False,
) -> AsyncIterator[Stack]:
    """Registry, one node and a gateway, ready. Engine output is in the node's log."""
    made = await new_stack(folder)
    async with contextlib.AsyncExitStack() as exits:
        made.nodes.append(await exits.enter_async_context(node(made, weights, flags=flags, embedding=embedding)))
        await exits.enter_async_context(serve_gateway(made, gateway, proven=1))
        yield made


@contextlib.asynccontextmanager
async def full_stack(folder: Path, weights: Path) -> AsyncIterator[Stack]:
    """One node that serves every demo model, and an external engine by proxy alone; a gateway; all open to anybody."""
    made = await new_stack(folder)
    further = {each.name: each.options() for each in demo.DEMOS if each is not demo.CHAT}
    async with contextlib.AsyncExitStack() as exits:
        engine = await exits.enter_async_context(external(folder))
        further[PROXIED_MODEL] = {"uri": f"openai+{engine.url}", "endpoints": ["embeddings"], "proxy": ["/embed"]}
        made.nodes.append(await exits.enter_async_context(node(made, weights, access=("open",), further=further)))
        await exits.enter_async_context(serve_gateway(made, ("--open",), proven=1))
        yield made


async def new_stack(folder: Path) -> Stack:
    """Keys and a registry, nothing running."""
    await waypost("key", "new", "operator.key", cwd=folder)
    shown = await waypost("key", "show", "operator.key", cwd=folder)
    operator = next(word for word in shown.split() if word.startswith("0x"))
    await waypost("key", "new", "gateway.key", cwd=folder)
    gateway_key = next(
        word for word in (await waypost("key", "show", "gateway.key", cwd=folder)).split() if len(word) == 43
    )
    return Stack(folder, f"sqlite:///{folder}/registry.db", operator, gateway_key=gateway_key)


@contextlib.asynccontextmanager
async def node(
    made: Stack,
    weights: Path,
    *,
    name: str = "node",
    flags: Sequence[str] = (),
    access: Sequence[str] = (),
    embedding: bool = False,
    further: Mapping[str, Mapping[str, Any]] | None = None,
) -> AsyncIterator[Node]:
    """A node agent with a delegation of the stack's operator, loaded and ready.

    With an embedding model if asked; `further` are tables of models (`[node.models.NAME]`).
    """
    own = made.folder / name
    own.mkdir(exist_ok=True)
    for key in ("node.key", "delegate.key"):
        if not (own / key).exists():
            await waypost("key", "new", f"{name}/{key}", cwd=made.folder)
    key = next(w for w in (await waypost("key", "show", f"{name}/node.key", cwd=made.folder)).split() if len(w) == 43)
    shown = await waypost("key", "show", f"{name}/delegate.key", cwd=made.folder)
    delegate = next(word for word in shown.split() if word.startswith("0x"))
    words = ("registry", "delegate", delegate, "--operator-key", "operator.key", "--node", key)
    await waypost(*words, "--out", f"{name}/delegation.json", cwd=made.folder)
    url = f"http://127.0.0.1:{free_port()}"
    options = {
        "listen": url.removeprefix("http://"),
        "public_url": url,
        "registry": [made.registry],
        "node_key": str(own / "node.key"),
        "delegate_key": str(own / "delegate.key"),
        "delegation": str(own / "delegation.json"),
        "access": list(access) or [made.gateway_key],
        "state": str(own),
        "log_level": "debug",
    }
    models: dict[str, Mapping[str, Any]] = {MODEL: {"uri": str(weights), "aliases": [ALIAS], "flags": list(flags)}}
    if embedding:
        models[EMBEDDING_MODEL] = demo.EMBEDDING.options()
    models.update(further or {})
    tables = [toml(f'node.models."{name}"', model) for name, model in models.items()]
    (own / "waypost.toml").write_text(toml("node", options) + "".join(tables))
    command = ("-m", "waypost", "node", "serve", "--config", str(own / "waypost.toml"))
    async with running(command, own / "log.txt") as program, aiohttp.ClientSession() as session:
        await healthy(session, f"{url}/health", program, lambda _: True)
        yield Node(url, key, program)


@contextlib.asynccontextmanager
async def serve_gateway(made: Stack, options: Sequence[str], *, proven: int, trust: str = "") -> AsyncIterator[Program]:
    """The stack's gateway, once that many nodes have proven themselves."""
    made.gateway_url = made.gateway_url or f"http://127.0.0.1:{free_port()}"
    words = ["--listen", made.gateway_url.removeprefix("http://"), "--registry", made.registry]
    words += ["--trust", trust or made.operator, "--allow-private", "--gateway-key", str(made.folder / "gateway.key")]
    words += ["--state", str(made.folder), *options]
    async with (
        running(("-m", "waypost", "gateway", "serve", *words), made.folder / "gateway.txt") as program,
        aiohttp.ClientSession() as session,
    ):
        await healthy(session, f"{made.gateway_url}/health", program, lambda health: health["proven"] >= proven)
        made.gateway = program
        yield program
