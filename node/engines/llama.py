"""llama-server: the one file that knows its flags, its routes and its faults.

One server a model, on a Unix socket in a private folder, with everything switched off that is not the OpenAI API. Not
here: asking it (child), the life of its process (process), how large it is made (sizing).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from node.chatml import TURN_END, Template
from node.engines.child import ChildEngine
from node.engines.devices import Device, Placement, names_devices, parse_devices, place
from node.engines.engine import Door
from node.engines.environment import for_engine
from node.engines.llama_dimensions import shorten
from node.engines.llama_faults import translate
from node.engines.llama_media import explain, refuse_remote
from node.engines.llama_refusals import refusal
from node.engines.llama_requests import reworded
from node.engines.llama_rerank import rank_by_embedding, rank_by_model
from node.engines.program import Carried, find
from node.gguf import Pooling
from node.model_config import ModelConfig
from node.process import ProcessLimits
from node.sizes.sizing import Sizing
from relay.answer import Answer, Made
from relay.call import Call, parse_object
from relay.endpoints import EMBEDDINGS, RERANK
from relay.errors import ApiError, BadRequest
from relay.limits import Limits

_CARRIED = Carried("llama-server", "llama-cpp-python", "llama.cpp", "--llama-server")
_WORKERS_S = 30.0
_EMBEDDINGS_LIMIT_BYTES = 256 * 1024 * 1024


@dataclass(frozen=True)
class Build:
    """A llama-server on this machine. `gpu`: it has a device beside the CPU."""

    path: Path
    version: str
    gpu: bool
    devices: tuple[Device, ...] = ()


async def find_build(path: Path | None) -> Build:
    """The named llama-server, or the one that llama-cpp-python carries, after it has run once. Raises EngineError."""
    found = await find(_CARRIED, path, "--list-devices")
    devices = parse_devices(found.printed.decode(errors="replace"))
    return Build(found.path, found.version, bool(devices), devices)


async def find_place(build: Build, model: str, wish: ModelConfig) -> Placement:
    """The devices that the model's settings come to. Raises EngineError."""
    if not wish.rpc or not names_devices(wish):
        return place(model, wish, build.devices)
    devices = await _devices_with(build, wish.rpc)
    return place(model, wish, build.devices if devices is None else devices, away=devices is None)


async def _devices_with(build: Build, workers: Sequence[str]) -> tuple[Device, ...] | None:
    """The workers' too; None if one is away, since llama-server aborts then. It is waited for when the model starts."""
    child = await asyncio.create_subprocess_exec(
        str(build.path), "--rpc", ",".join(workers), "--list-devices", stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL, env=for_engine(os.environ),
    )  # fmt: skip
    try:
        async with asyncio.timeout(_WORKERS_S):
            printed, _ = await child.communicate()
    except TimeoutError:
        return None
    finally:
        with suppress(ProcessLookupError):
            child.kill()
    return parse_devices(printed.decode(errors="replace")) if child.returncode == 0 else None


class LlamaEngine(ChildEngine):
    """One model in one llama-server.

    `purpose` is the template that it chats by, or the pooling that it embeds or ranks by; `projector` is what lets it
    see; `workers` are llama.cpp's RPC workers that compute for it; `placement` says on which devices it does.
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
        *,
        projector: Path | None = None,
        workers: Sequence[str] = (),
        placement: Sequence[str] = (),
    ) -> None:
        command = [str(build.path), *_arguments(name, weights, socket, sizing), *_purpose(purpose, socket)]
        command += ["--mmproj", str(projector)] if projector else []
        command += ["--rpc", ",".join(workers)] if workers else []
        command += placement
        # Media that it cannot decode it hands to ffmpeg, which opens what a playlist names: beside the socket is none.
        environment = for_engine(os.environ) | {"LLAMA_ARG_VIDEO_FFMPEG_DIR": str(socket.parent)}
        super().__init__(
            name, sizing.parallel, [*command, *flags], environment, socket, process_limits, limits,
            weights=weights, hopeless=lambda lines: refusal(lines, name), on_change=on_change,
        )  # fmt: skip
        self._ranks = purpose is Pooling.RANK
        self._calls_tools = isinstance(purpose, Template) and "tool" in purpose.text

    @property
    def door(self) -> Door:
        return replace(super().door, check=lambda raw: refuse_remote(parse_object(raw)))

    async def ask(self, call: Call) -> Answer:
        """Send the call's body as it stands, or make of it what llama-server knows. Raises ApiError."""
        if call.endpoint is RERANK:
            return await (rank_by_model if self._ranks else rank_by_embedding)(self.forward, call)
        refuse_remote(call.fields)
        try:
            answer = await self.forward(reworded(call, self._calls_tools))
        except BadRequest as error:
            raise explain(error, call.fields) from error
        dimensions = call.fields.get("dimensions") if call.endpoint is EMBEDDINGS else None
        if dimensions is None:
            return answer
        async with answer:
            whole = await answer.whole(_EMBEDDINGS_LIMIT_BYTES)
        return Made(await asyncio.to_thread(shorten, whole, dimensions))

    def translate(self, status: int, body: bytes) -> ApiError:
        return translate(status, body)


def _arguments(name: str, weights: Path, socket: Path, sizing: Sizing) -> list[str]:
    """`-c` is the total over all slots. There is no switch for GET /props: nobody reaches it but through our routes."""
    arguments = ["--model", str(weights), "--alias", name, "--host", str(socket), "--offline", "--log-colors", "off"]
    arguments += ["--no-ui", "--no-slots", "--no-agent", "--no-ui-mcp-proxy"]
    arguments += ["--ctx-size", str(sizing.context * sizing.parallel), "--parallel", str(sizing.parallel)]
    arguments += ["--threads", str(sizing.threads), "--no-kv-unified"]
    # Idle slots stay where they are without a unified cache, so a copy of each would only take memory.
    arguments += ["--cache-ram", str(sizing.prompt_cache_mib), "--no-cache-idle-slots"]
    arguments += ["--ctx-checkpoints", str(sizing.checkpoints)]
    arguments += [] if sizing.mapped else ["--load-mode", "none"]
    if sizing.gpu_layers is not None:
        arguments += ["--n-gpu-layers", str(sizing.gpu_layers)]
    if sizing.batch is not None:
        arguments += ["--batch-size", str(sizing.batch), "--ubatch-size", str(sizing.batch)]
    return arguments


def _purpose(purpose: Template | Pooling, socket: Path) -> list[str]:
    """To chat by a template, or to embed by a pooling: a server started for one does not do the other."""
    if purpose is Pooling.RANK:
        return ["--reranking"]
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
