"""Other gateways for models that bench.relay holds ours against: LiteLLM's proxy and Portkey's gateway.

Each is set up as its own documentation advises for production. Not here: plain relays (relay_peers), how they come
onto this machine (scripts/peers.sh).
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from bench.relay_load import MODEL, Door
from bench.relay_programs import NotToBeHad, program
from bench.relay_scene import Running, Scene
from tests.programs import free_port

_KEY = "sk-bench-1234"
_LITELLM = """
model_list:
  - model_name: {model}
    litellm_params: {{model: openai/{model}, api_base: "http://127.0.0.1:{engine}/v1", api_key: none}}
general_settings: {{master_key: {key}}}
litellm_settings: {{set_verbose: false, request_timeout: 600, callbacks: []}}
"""
# Its production page: logs of errors alone, no .env file; and no price list fetched from the web.
_LITELLM_ENV = {"LITELLM_LOG": "ERROR", "LITELLM_MODE": "PRODUCTION", "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
# It would listen on every interface, without a key.
_LOOPBACK = (
    'data:text/javascript,import net from "node:net"; const listen = net.Server.prototype.listen; '
    "net.Server.prototype.listen = function (port, host, ...more) { "
    'return listen.call(this, port, "127.0.0.1", ...more) }'
)
_UP_S = 120.0


@asynccontextmanager
async def litellm(scene: Scene) -> AsyncIterator[Running]:
    """One worker, a master key, no callback."""
    port, config = free_port(), scene.folder / "litellm.yaml"
    config.write_text(_LITELLM.format(model=MODEL, engine=scene.port, key=_KEY))
    words = [_there("litellm/bin/litellm"), "--config", config, "--host", "127.0.0.1", "--port", str(port)]
    words += ["--num_workers", "1", "--telemetry", "False"]
    async with program(words, scene.folder, port, env=_LITELLM_ENV, up_s=_UP_S) as running:
        yield Running(Door(port, key=_KEY), (running.pid,))


@asynccontextmanager
async def portkey(scene: Scene) -> AsyncIterator[Running]:
    """Told in each request's headers where the engine is, as it has no configuration of its own."""
    node, port = shutil.which("node"), free_port()
    script = _there("portkey/node_modules/@portkey-ai/gateway/build/start-server.js")
    if node is None:
        raise NotToBeHad("no Node.js here; run: apt-get install nodejs npm")
    headers = f"x-portkey-provider: openai\r\nx-portkey-custom-host: http://127.0.0.1:{scene.port}/v1\r\n"
    words = (node, f"--import={_LOOPBACK}", script, f"--port={port}", "--headless")
    env = {"NODE_ENV": "production", "TRUSTED_CUSTOM_HOSTS": "127.0.0.1"}
    async with program(words, scene.folder, port, env=env, up_s=_UP_S) as running:
        yield Running(Door(port, headers=headers), (running.pid,))


def litellm_version() -> str:
    return _there("litellm").resolve().name


def portkey_version() -> str:
    node = subprocess.run(("node", "--version"), capture_output=True, check=False, text=True).stdout.strip()
    return f"{_there('portkey').resolve().name}, node {node}"


def _there(path: str) -> Path:
    found = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "waypost/peers" / path
    if not found.exists():
        raise NotToBeHad(f"no {path.partition('/')[0]} here; scripts/peers.sh installs it, or says why it cannot")
    return found
