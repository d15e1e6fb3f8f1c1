"""`waypost node status`: asks a node how it is doing, and shows that to a person, once or again and again.

Not here: how it is laid out (status_page), and what the node says of itself (health).
"""

from __future__ import annotations

import asyncio
import io
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import aiohttp
import orjson

from node.telemetry.status_config import StatusConfig
from node.telemetry.status_page import page, shown
from node.tls_key import TlsKey
from registry.keys import KeyFileError
from relay.http import NODE_HEADER, make_connector, make_session, read_at_most
from relay.tls import SpkiPin

__all__ = ["StatusConfig", "run"]

_ANSWER_LIMIT_BYTES = 4 * 1024 * 1024
_DEEPEST = 16  # a node's answer has five levels
_USABLE, _NOT_READY, _UNREACHABLE = 0, 1, 2
_KNOWN = (200, 202, 503)
_CLEAR = "\x1b[H\x1b[2J\x1b[3J"


class Unreachable(Exception):
    """There is no node's answer; one line with the fix."""


def run(config: StatusConfig) -> int:
    """Print how the node is doing. Returns the exit status: 0 it can be used, 1 it cannot yet, 2 it does not answer."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal may know few characters
    try:
        return asyncio.run(_once(config) if config.watch is None else _again(config, config.watch))
    except Unreachable as error:
        print(f"waypost: {error}", file=sys.stderr)
        return _UNREACHABLE
    except BrokenPipeError:  # who read it has seen enough; Python would say so once more at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _USABLE


async def _once(config: StatusConfig) -> int:
    """Raises Unreachable."""
    async with _session() as session:
        code, health, node = await _ask(session, config)
        print(_text(config, health, node), flush=True)
        return _USABLE if code in (200, 202) else _NOT_READY


async def _again(config: StatusConfig, every_s: float) -> int:
    """Until interrupted. A node that does not answer is asked again."""
    async with _session() as session:
        while True:
            try:
                _, health, node = await _ask(session, config)
                text = _text(config, health, node)
            except Unreachable as error:
                text = json.dumps({"error": str(error)}) if config.json_ else f"waypost: {error}"
            print(_redrawn(text) if sys.stdout.isatty() and not config.json_ else text, flush=True)
            await asyncio.sleep(every_s)


def _session() -> aiohttp.ClientSession:
    return make_session(make_connector(), connect_s=5.0)


async def _ask(session: aiohttp.ClientSession, config: StatusConfig) -> tuple[int, dict[str, Any], str | None]:
    """The status, the body and the node's key. Raises Unreachable."""
    url, tls = f"{config.where}/health", _tls(config.tls_key)
    try:
        async with asyncio.timeout(config.answer_s):
            async with session.get(url, allow_redirects=False, ssl=tls) as response:
                body = await read_at_most(response, _ANSWER_LIMIT_BYTES)
    except TimeoutError as error:
        raise Unreachable(f"{url} did not answer within {config.answer_s:g} s; is --url right?") from error
    except (aiohttp.ClientError, OSError) as error:
        raise Unreachable(f"{url} cannot be reached ({_why(error)}); is the node up, and --url right?") from error
    health = _health(body) if response.status in _KNOWN else None
    if health is None:
        raise Unreachable(f"{url} answers {response.status}, and not as a node does; is --url right?")
    return response.status, health, response.headers.get(NODE_HEADER)


def _tls(key: Path | None) -> SpkiPin | bool:
    """Whom to take for the node. Raises Unreachable."""
    try:
        return SpkiPin(bytes.fromhex(TlsKey.load(key).spki_sha256)) if key else True
    except KeyFileError as error:
        raise Unreachable(f"--tls-key {error}") from error


def _health(body: bytes) -> dict[str, Any] | None:
    """What a node says, as far as the outermost goes; a gateway's answer has no models."""
    try:
        said = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    good = isinstance(said, dict) and isinstance(said.get("status"), str) and isinstance(said.get("models"), dict)
    return said if good and _is_flat(said, _DEEPEST) else None


def _is_flat(value: object, levels: int) -> bool:
    """Not nested deeper than that: what is cannot be shown, or fills the memory with its indents."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return levels >= 0 and all(_is_flat(each, levels - 1) for each in inner)


def _why(error: Exception) -> str:
    number = error.errno if isinstance(error, OSError) else None
    if number is not None and number > 0:
        return os.strerror(number).lower()
    return shown(getattr(error, "strerror", None) or str(error) or type(error).__name__, 200)


def _text(config: StatusConfig, health: dict[str, Any], node: str | None) -> str:
    if config.json_:  # in ASCII: what a stranger wrote must not steer the terminal
        return json.dumps(health, indent=None if config.watch else 2)
    return page(health, config.where, node)


def _redrawn(text: str) -> str:
    """In place of what was there, as much of it as there is room for."""
    size = shutil.get_terminal_size()
    lines = [line[: size.columns] for line in text.splitlines()]
    return _CLEAR + "\n".join(lines[: size.lines - 1])
