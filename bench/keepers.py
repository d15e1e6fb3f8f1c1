"""Two ways to keep some of several models in memory: llama-server's router, and the node's way, a process a model.

Both start the same program with the same options. Not here: what is asked (streams), what is measured (switching) and
broken (faults).
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import sys
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from bench.asking import Door
from node.chatml import Template
from node.config import NodeConfig
from node.engines.child import ChildEngine
from node.engines.engine import Engine
from node.engines.environment import for_engine
from node.engines.llama import Build, LlamaEngine, find_build
from node.life import NotReady
from node.process import ProcessLimits
from node.residents.residency import Residency
from node.residents.tenant import Cold, Tenant
from node.sizes.memory import Memory
from node.sizes.sizing import Sizing
from relay.limits import Limits

PARALLEL, CONTEXT = 4, 2048  # of each model; context is per request
_READY_S, _IDLE_S = 120.0, 3600.0
_NEED = Memory(ram=1)  # one of the places that there are
_OF_THE_ROUTER = ("--no-ui", "--no-agent", "--no-ui-mcp-proxy", "--offline", "--log-colors", "off")
_OURS = ("model", "alias", "host")  # of a model's options, those that the router sets itself


class Refused(Exception):
    """A model cannot be had; the text says why."""


class Keeper(Protocol):
    """`hold` is how a model is asked: the door where that is done, once it can be."""

    @property
    def name(self) -> str: ...

    def hold(self, model: str) -> AbstractAsyncContextManager[Door]:
        """Raises Refused."""
        ...

    async def change(self, model: str) -> None:
        """Give a model other settings."""
        ...

    def pids(self) -> dict[str, int]:
        """Process ids by model; the router's is under its name."""
        ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class _Exits:
    """Leaving the context stops what was started."""

    def __init__(self) -> None:
        self._exits = AsyncExitStack()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._exits.aclose()


class Processes(_Exits):
    """A process a model, loaded and unloaded by the node's own residency; at most `most` at once."""

    name = "processes"

    def __init__(self, build: Build, weights: Mapping[str, Path], folder: Path, most: int) -> None:
        super().__init__()
        self.weights, self.folder = weights, folder
        self._build, self._numbers = build, itertools.count()
        budget = sum((_NEED for _ in range(most)), Memory())
        self._residency = Residency(budget, NodeConfig.model_fields["hold_s"].default, _unmeasured)
        self._tenants = {model: self._add(model) for model in weights}

    async def __aenter__(self) -> Self:
        self._exits.push_async_callback(_cancel, asyncio.create_task(self._residency.run()))
        return self

    @asynccontextmanager
    async def hold(self, model: str) -> AsyncIterator[Door]:
        """Loads a cold model first."""
        try:
            async with self._residency.hold(self._tenants[model], _READY_S) as engine:
                yield Door(engine.door.session, engine.door.url)
        except (Cold, NotReady) as error:
            raise Refused(self._tenants[model].engine.life.failure or str(error)) from error

    async def change(self, model: str) -> None:
        """The old one ends its answers, and a new one takes its place."""
        self._residency.dismiss(self._tenants[model])
        self._tenants[model] = self._add(model)

    def pids(self) -> dict[str, int]:
        return models_of("self")

    def _add(self, model: str) -> Tenant:
        """An engine as the node makes it for a chat model on a CPU."""
        engine = LlamaEngine(
            self._build, model, self.weights[model], Template("", own=True), Sizing(CONTEXT, PARALLEL, 2, None, 256),
            (), self.folder / f"{next(self._numbers)}.sock", ProcessLimits(), Limits(),
        )  # fmt: skip
        return self._residency.add(engine, _NEED, kept=False, idle_s=_IDLE_S)


class Router(_Exits):
    """llama-server in router mode, behind a Unix socket, with a preset a model."""

    name = "router"

    def __init__(self, build: Build, preset: str, folder: Path, most: int) -> None:
        super().__init__()
        self._preset = preset
        self._file = folder / "preset.ini"
        self._file.write_text(preset)
        socket = folder / "router.sock"
        command = [
            str(build.path),
            "--host",
            str(socket),
            "--models-preset",
            str(self._file),
            "--models-max",
            str(most),
        ]
        self._engine = ChildEngine(
            self.name, PARALLEL, [*command, *_OF_THE_ROUTER], for_engine(os.environ), socket, ProcessLimits(), Limits()
        )

    async def __aenter__(self) -> Self:
        self._exits.push_async_callback(_cancel, asyncio.create_task(self._engine.run()))
        await self._engine.life.ensure_ready(_READY_S)
        return self

    @asynccontextmanager
    async def hold(self, model: str) -> AsyncIterator[Door]:
        """Its own door, whichever the model: it loads when asked."""
        yield Door(self._engine.door.session, self._engine.door.url)

    async def change(self, model: str) -> None:
        """An option more in the preset, and the router told to read it anew."""
        self._file.write_text(self._preset.replace(f"[{model}]\n", f"[{model}]\ntemp = 0.5\n"))
        door = self._engine.door
        async with door.session.get(f"{door.url}/models?reload=1") as response:
            response.raise_for_status()

    def pids(self) -> dict[str, int]:
        own = next(pid for pid, words in _children("self") if "--models-preset" in words)
        return {self.name: own, **models_of(own)}

    def port(self, model: str) -> int:
        """The loopback port that it gave to a model's process."""
        words = _words(self.pids()[model])
        return int(words[words.index("--port") + 1])


def preset_of(processes: Processes, model: str) -> str:
    """The router's preset file: for every model the options that the running process of `model` was started with."""
    options = list(_options(_words(processes.pids()[model])[1:]))
    lines = ["version = 1"]
    for name, path in processes.weights.items():
        lines += [f"[{name}]", f"model = {path}"]
        lines += [f"{key} = {value}" for key, value in options if key not in _OURS]
    return "\n".join(lines) + "\n"


def models_of(pid: int | str) -> dict[str, int]:
    """The llama-servers among a process's children, by the model of each."""
    return {words[words.index("--alias") + 1]: child for child, words in _children(pid) if "--alias" in words}


async def _unmeasured(engine: Engine) -> Memory | None:
    """Models are counted here, not weighed."""
    return None


def _options(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    """A command's `--key value` and `--flag` as pairs."""
    for word, following in zip(words, [*words[1:], "--"], strict=True):
        if word.startswith("--"):
            yield word[2:], "true" if following.startswith("--") else following


def _children(pid: int | str) -> list[tuple[int, list[str]]]:
    """Children of a process, of all its threads, with their words."""
    found: list[tuple[int, list[str]]] = []
    for listed in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found += [(child, _words(child)) for child in map(int, listed.read_text().split())]
    return found


def _words(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")[:-1]


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def _alone(folder: Path, files: Sequence[Path]) -> None:
    """Keep a process a model until killed: `python -m bench.keepers FOLDER GGUF...`."""
    weights = {path.stem: path for path in files}
    async with Processes(await find_build(None), weights, folder, len(weights)) as keeper, AsyncExitStack() as held:
        for model in weights:
            await held.enter_async_context(keeper.hold(model))
        print("ready", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_alone(Path(sys.argv[1]), [Path(word) for word in sys.argv[2:]]))
