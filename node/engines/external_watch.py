"""Whether an engine elsewhere is there and takes this node's calls: asked again and again, and logged when it changes.

Not here: sending calls (external).
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

import aiohttp
import orjson

from node.engines.engine import Door
from node.life import Life, State
from relay.http import read_at_most

log = logging.getLogger("waypost.node")

_PROBE_S = 5.0
_WATCH_EVERY_S = 5.0
_LOOK_EVERY_S = 2.0  # while it is away, or may be
_MISSES = 2  # in a row, before an engine that was there counts as away
_LIST_LIMIT_BYTES = 1024 * 1024
_SHOWN = 5
_PRIVATE_NAMES = (".local", ".localhost", ".internal", ".lan", ".home.arpa")


@dataclass(frozen=True)
class Sight:
    """Of an engine: `trouble` is why it cannot be used, None where it can; `hint` is what looks odd all the same."""

    trouble: str | None = None
    hint: str | None = None


class Watched(Life):
    """Looks by `probe`."""

    def __init__(self, name: str, probe: Callable[[], Awaitable[Sight]], on_change: Callable[[], None]) -> None:
        super().__init__(on_change)
        self._name = name
        self._probe = probe
        self._misses = 0
        self._doubted = asyncio.Event()
        self._said: str | None = None

    async def run(self) -> None:
        """Look until cancelled."""
        self._enter(State.STARTING)
        try:
            while True:
                self._doubted.clear()
                self._judge(await self._probe())
                calm = self.state is State.READY and not self._misses
                with suppress(TimeoutError):
                    async with asyncio.timeout(_WATCH_EVERY_S if calm else _LOOK_EVERY_S):
                        await self._doubted.wait()
        finally:
            self._enter(State.STOPPED)

    def doubt(self) -> None:
        """A call could not be made: look now, and take it for a first miss."""
        self._misses += 1
        self._doubted.set()

    def _judge(self, sight: Sight) -> None:
        self._misses = 0 if sight.trouble is None else self._misses + 1
        if sight.trouble is None:
            self._found(sight.hint)
        elif self.state is not State.READY or self._misses >= _MISSES:
            self._missed(sight.trouble)

    def _found(self, hint: str | None) -> None:
        if self.state is State.READY:
            return
        self.starts += 1
        self.failures = 0
        self._said = None
        log.info("%s: its engine is there", self._name)
        if hint is not None:
            log.warning("%s: %s", self._name, hint)
        self._enter(State.READY)

    def _missed(self, why: str) -> None:
        self.failures += 1
        self.ended = why
        if why != self._said:
            log.error("%s: %s; looked at again every %.0f s", self._name, why, _LOOK_EVERY_S)
            self._said = why
        if self.state is not State.BACKOFF:
            self._enter(State.BACKOFF)


async def look(door: Door, model: str) -> Sight:
    """At an engine that may be away, still load, or not take this node's key."""
    try:
        health, _ = await _get(door, "/health")
        listed, models = await _get(door, "/v1/models")
    except aiohttp.ClientConnectorCertificateError:
        return Sight(f"the TLS certificate of {door.url} is not valid; SSL_CERT_FILE names authorities of your own")
    except (TimeoutError, aiohttp.ClientError, OSError) as error:
        return Sight(f"its engine at {door.url} does not answer ({type(error).__name__})")
    if listed in (401, 403):
        return Sight(f"its engine at {door.url} does not take this node's key (status {listed}); check key_file")
    if health >= 500:
        return Sight(f"its engine at {door.url} is not ready (status {health})")
    if listed == 200:
        return Sight(hint=_unlisted(models, model))
    return Sight(None if health == 200 else f"{door.url} does not speak OpenAI's API (status {listed} at /v1/models)")


def exposed(url: str) -> bool:
    """Whether what is sent there may cross a public network in the clear."""
    split = urlsplit(url)
    host = split.hostname or ""
    if split.scheme == "https":
        return False
    try:
        return ipaddress.ip_address(host).is_global
    except ValueError:
        return "." in host and not host.endswith(_PRIVATE_NAMES)


async def _get(door: Door, path: str) -> tuple[int, bytes]:
    limit = aiohttp.ClientTimeout(_PROBE_S)
    async with door.session.get(
        door.url + path, headers=door.headers, timeout=limit, allow_redirects=False
    ) as response:
        return response.status, await read_at_most(response, _LIST_LIMIT_BYTES)


def _unlisted(body: bytes, model: str) -> str | None:
    """Many engines answer by another name too, and some list a file's path: worth a word, no more."""
    try:
        names = [item["id"] for item in orjson.loads(body)["data"]]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return None
    if model in names:
        return None
    shown = ", ".join(map(str, names[:_SHOWN])) or "none"
    return f"its engine does not list {model!r} (but {shown}); if calls fail, set upstream_model to one of these"
