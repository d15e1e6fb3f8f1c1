"""An engine that runs elsewhere and speaks OpenAI's API: vLLM, SGLang, TGI, another llama-server.

The way to models that need several GPUs or machines. One thing alone is changed in what passes: the model's name
(external_body). Not here: whether it is there (external_watch), and what such an engine does.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

import aiohttp

from node.engines.engine import Door, EngineError
from node.engines.external_body import renamed
from node.engines.external_faults import Faults
from node.engines.external_watch import Watched, exposed, look
from relay.answer import Answer, Relayed
from relay.call import Call
from relay.errors import ConnectFailed, Reset, Unavailable
from relay.http import make_connector, make_session
from relay.limits import Limits
from relay.stream import ask
from relay.wire.origin import Origin
from relay.wire.upstreams import Upstreams
from relay.wire.watch import Watch

log = logging.getLogger("waypost.node")

_RETRY_S = 2
_KEY_LIMIT_CHARS = 4096


@dataclass(frozen=True)
class Elsewhere:
    """Where the engine is, by which name it knows the model, and the key that it asks for."""

    url: str
    upstream_model: str | None = None
    key: str | None = field(default=None, repr=False)

    @property
    def headers(self) -> Mapping[str, str]:
        return {"Authorization": f"Bearer {self.key}"} if self.key else {}


def read_key(file: Path) -> str:
    """The API key that a file holds. Raises EngineError with the fix."""
    try:
        key = file.expanduser().read_text(encoding="ascii").strip()
    except OSError as error:
        raise EngineError(f"key_file {file}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise EngineError(f"key_file {file}: must hold the engine's API key as plain text") from error
    if not key.isprintable() or " " in key or not 0 < len(key) <= _KEY_LIMIT_CHARS:
        raise EngineError(f"key_file {file}: must hold the engine's API key, alone and on one line")
    return key


class ExternalEngine:
    """One model at an engine that somebody else keeps up."""

    def __init__(
        self, name: str, slots: int, where: Elsewhere, limits: Limits, on_change: Callable[[], None] = lambda: None
    ) -> None:
        self.name = name
        self.slots = slots
        self._where = where
        self._model = where.upstream_model or name
        self._limits = limits
        self._session: aiohttp.ClientSession | None = None
        self._upstreams: Upstreams | None = None
        self._origin = _origin(where.url)
        self._faults = Faults(name, where.url, where.key)
        self.life = Watched(name, lambda: look(self.door, self._model), on_change)

    def __repr__(self) -> str:
        return f"<ExternalEngine slots={self.slots} {self.life!r}>"

    async def run(self) -> None:
        """Watch it until cancelled."""
        if self._where.key and exposed(self._where.url):
            log.warning(
                "%s: key_file's key crosses the network unencrypted to %s; write openai+https://",
                self.name, self._where.url,
            )  # fmt: skip
        with closing(Upstreams(None, Watch())) as self._upstreams:
            async with make_session(self._connector(), connect_s=self._limits.connect_s) as self._session:
                await self.life.run()

    @property
    def door(self) -> Door:
        assert self._session is not None
        return Door(self._session, self._where.url, self._faults.proxied, self._where.headers)

    async def ask(self, call: Call) -> Answer:
        """Send the call on. Raises ApiError."""
        sent = await renamed(call, self._model)
        answer = await self._send(sent)
        if answer.ok:
            return answer
        answer.close()
        raise self._faults.judged(answer.status, answer.first, answer.header("Retry-After"))

    async def _send(self, call: Call) -> Relayed:
        assert self._upstreams is not None
        headers, path = self._where.headers, f"/v1/{call.endpoint.path}"
        try:
            return await ask(self._upstreams, self._origin, path, call, headers, self._limits)
        except ConnectFailed as error:
            self.life.doubt()
            text = f"The engine of {self.name} cannot be reached."
            raise Unavailable(text, code="engine_not_ready", retry_after_s=_RETRY_S) from error
        except Reset:
            self.life.doubt()
            raise

    def _connector(self) -> aiohttp.BaseConnector:
        if self._where.url.startswith("https:"):
            return make_connector()
        return aiohttp.TCPConnector(limit=0, force_close=True, use_dns_cache=False, happy_eyeballs_delay=None)


def _origin(url: str) -> Origin:
    # Servers of models close a connection a few seconds after an answer, or with a stream's end, though they say
    # keep-alive: a call sent just then would be lost. A new one costs little, but where there is TLS; and what ends TLS
    # keeps its word.
    return replace(Origin.of(url), keep=url.startswith("https:"))
