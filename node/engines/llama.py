"""llama-server: the one file that knows its flags, its routes and its faults.

One server a model, on a Unix socket in a private folder, with everything switched off that is not the OpenAI API. Not
here: the life of its process (process), how large it is made (sizing).
"""

from __future__ import annotations

import asyncio
import os
import sysconfig
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import aiohttp

from node.chatml import TURN_END, Template
from node.engines.llama_dimensions import shorten
from node.engines.llama_faults import bad_argument, translate
from node.gguf import Pooling
from node.process import Process, ProcessLimits
from node.sizing import Sizing
from relay.call import Call
from relay.http import make_session
from relay.stream import Answer, Limits, ask

_BASE_URL = "http://llama"  # a name for the Host header; the socket is the address
_INSPECT_S = 30.0
_PROBE_S = 5.0
# What would change the server behind our back: its own variables, credentials for downloads, our options.
_DROPPED_VARIABLES = ("LLAMA_", "HF_", "MTMD_", "AIP_", "WAYPOST_")
# Turns that a thread spins at a barrier before it sleeps. By default it spins on while the thread it waits for has no
# core: beside two busy processes on 2 cores that took 3 s a token. This costs nothing on a quiet machine.
_SPIN = "500"


class EngineError(Exception):
    """A llama-server that cannot be used; one line with the fix."""


@dataclass(frozen=True)
class Build:
    """A llama-server on this machine. `gpu`: it has a device beside the CPU."""

    path: Path
    version: str
    gpu: bool


async def find_build(path: Path | None) -> Build:
    """The named llama-server, or the one that llama-cpp-python carries, after it has run once. Raises EngineError."""
    found = path or Path(sysconfig.get_path("platlib"), "bin", "llama-server")
    if not os.access(found, os.X_OK) or not found.is_file():
        raise EngineError(f"there is no llama-server at {found}; build it with make, or give --llama-server FILE")
    try:
        child = await asyncio.create_subprocess_exec(
            str(found), "--list-devices", stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT, env=_environment(os.environ),
        )  # fmt: skip
    except OSError as error:
        raise EngineError(f"{found} cannot be run ({error.strerror})") from error
    try:
        async with asyncio.timeout(_INSPECT_S):
            printed, _ = await child.communicate()
    except TimeoutError as error:
        raise EngineError(f"{found} --list-devices hangs; check the GPU's driver") from error
    finally:
        with suppress(ProcessLookupError):
            child.kill()
    if child.returncode != 0:
        raise EngineError(f"{found} fails on this machine ({_why(child.returncode or 0, printed)})")
    devices = printed.decode(errors="replace").partition("Available devices:")[2].split("\n")
    gpu = any(line.strip() not in ("", "(none)") for line in devices)
    return Build(found.absolute(), _version(own=path is None), gpu)


def _why(code: int, printed: bytes) -> str:
    if code == -4:
        return "SIGILL: it was built for another CPU; build it here, or with GGML_NATIVE=OFF"
    lines = printed.decode(errors="replace").strip().splitlines()
    return f"status {code}: {lines[-1][:200]}" if lines else f"status {code}"


def _version(own: bool) -> str:
    with suppress(PackageNotFoundError):
        if own:
            return f"llama.cpp/{version('llama-cpp-python')}"
    return "llama.cpp"


class LlamaEngine:
    """One model in one llama-server. `run` keeps it up; `ask` sends it a call.

    `purpose` is the template that it chats by, or the pooling that it embeds by.
    """

    def __init__(
        self,
        build: Build,
        name: str,
        weights: Path,
        purpose: Template | Pooling,
        sizing: Sizing,
        flags: Sequence[str],
        socket: Path,
        process_limits: ProcessLimits,
        limits: Limits,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self.name = name
        self.slots = sizing.parallel
        self._socket = socket
        self._limits = limits
        self._session: aiohttp.ClientSession | None = None
        command = [str(build.path), *_arguments(name, weights, socket, sizing), *_purpose(purpose, socket), *flags]
        self.process = Process(
            name, command, _environment(os.environ), prepare=self._prepare, probe=self._healthy,
            limits=process_limits, hopeless=lambda lines: bad_argument(lines, name), on_change=on_change,
        )  # fmt: skip

    def __repr__(self) -> str:
        return f"<LlamaEngine slots={self.slots} {self.process!r}>"

    async def run(self) -> None:
        """Keep llama-server up until cancelled."""
        # The server closes after a stream, though it says keep-alive: a kept connection would break the next call.
        connector = aiohttp.UnixConnector(str(self._socket), limit=0, force_close=True)
        async with make_session(connector, connect_s=self._limits.connect_s) as self._session:
            await self.process.run()

    async def ask(self, call: Call) -> Answer:
        """Send the call's body as it stands. Raises ApiError: what the engine finds wrong, or how it failed."""
        assert self._session is not None
        answer = await ask(self._session, f"{_BASE_URL}/v1/{call.endpoint.path}", call, {}, self._limits)
        if not answer.ok:
            answer.close()
            raise translate(answer.status, answer.first)
        if call.dimensions is not None:
            answer.first = await asyncio.to_thread(shorten, answer.first, call.dimensions)
        return answer

    def _prepare(self) -> None:
        self._socket.unlink(missing_ok=True)  # a stale one makes the start fail

    async def _healthy(self) -> bool:
        assert self._session is not None
        try:
            async with asyncio.timeout(_PROBE_S), self._session.get(f"{_BASE_URL}/health") as response:
                return response.status == 200
        except (TimeoutError, aiohttp.ClientError, OSError):
            return False


def _arguments(name: str, weights: Path, socket: Path, sizing: Sizing) -> list[str]:
    """`-c` is the total over all slots. There is no switch for GET /props: nobody reaches it but through our routes."""
    arguments = ["--model", str(weights), "--alias", name, "--host", str(socket), "--offline", "--log-colors", "off"]
    arguments += ["--no-ui", "--no-slots", "--no-agent", "--no-ui-mcp-proxy"]
    arguments += ["--ctx-size", str(sizing.context * sizing.parallel), "--parallel", str(sizing.parallel)]
    arguments += ["--threads", str(sizing.threads), "--no-kv-unified"]
    if sizing.gpu_layers is not None:
        arguments += ["--n-gpu-layers", str(sizing.gpu_layers)]
    if sizing.batch is not None:
        arguments += ["--batch-size", str(sizing.batch), "--ubatch-size", str(sizing.batch)]
    return arguments


def _purpose(purpose: Template | Pooling, socket: Path) -> list[str]:
    """To chat by a template, or to embed by a pooling: a server started for one does not do the other."""
    if isinstance(purpose, Pooling):
        return ["--embedding", "--pooling", purpose.name.lower()]
    return _templating(purpose, socket)


def _templating(template: Template, socket: Path) -> list[str]:
    """A model's own template is the server's default. ChatML goes through a file, and its end of turn ends an answer
    even where the vocabulary has no such token."""
    if template.own:
        return ["--jinja"]
    file = socket.with_suffix(".jinja")
    file.write_text(template.text)
    return ["--jinja", "--chat-template-file", str(file), "--reverse-prompt", TURN_END]


def _environment(ours: Mapping[str, str]) -> dict[str, str]:
    return {"GOMP_SPINCOUNT": _SPIN} | {
        name: value for name, value in ours.items() if not name.startswith(_DROPPED_VARIABLES)
    }
