"""The operator's word for a node, and whether the world can see it: delegation, advert, challenge, tombstone.

Everything here is what `waypost registry ...` does. Not here: how the delegation comes to the machine (machine).
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import orjson

from deploy.aleph.plan import say
from deploy.aleph.state import Keys, Record
from registry.advert import Advert, Envelope, Refused
from registry.answers import one_line
from registry.commands import Delegate, Retire, run_delegate, run_retire
from registry.commands.failure import CommandError
from registry.signing import open_signed
from relay.tls import SpkiPin

__all__ = ["DAY_S", "advert_of", "delegate", "health", "node_rows", "retire", "wait_for_advert"]

DAY_S = 86_400
_LOOK_EVERY_S = 2.0
_HEALTH_S = 10.0
_JUDGE_S = 120.0  # reads whole registries


@dataclass(frozen=True)
class Row:
    """One posting and what became of it, as `waypost registry list --json` tells it."""

    envelope: Any
    operator: str | None
    node: str | None
    seq: int | None
    accepted: bool
    reason: str | None
    kind: str | None
    detail: str | None


async def delegate(record: Record, keys: Keys, operator_key: Path, days: int, out: Path) -> int:
    """Sign for this node at its own name, and tell the networks; when it ends (Unix seconds)."""
    url = keys.public_url
    if url is None:
        raise CommandError("the node does not know its own URL: set public_url in --node-config, or --public-url there")
    config = Delegate(
        delegate=keys.delegate,
        operator_key=operator_key,
        node=keys.node,
        days=days,
        url_suffix=_suffix(url),
        out=out,
        registry=record.registries,
    )
    now = int(time.time())
    with contextlib.redirect_stdout(io.StringIO()):  # it speaks to who carries the file over by hand
        await run_delegate(config)
    return now + days * DAY_S


async def node_rows(record: Record, *, allow_private: bool, probe: bool) -> list[Row]:
    """What the registries say of the node, judged as a gateway does that trusts the operator. CommandError if none can.

    The judge is a process of its own: `waypost registry list`.
    """
    if record.keys is None:
        return []
    words = ["registry", "list", "--json", "--trust", record.operator]
    words += [word for url in record.registries for word in ("--registry", url)]
    words += ["--allow-private"] * allow_private + ["--probe"] * probe
    rows = _read_rows(await _waypost(*words))
    return [row for row in rows if row.node == record.keys.node and row.operator == record.operator]


async def wait_for_advert(record: Record, *, allow_private: bool, limit_s: float) -> Advert:
    """Wait until the node has published itself and its URL has proven its key. CommandError says what was missing."""
    deadline = time.monotonic() + limit_s
    last = told = "no advert of it is on the registry"
    while True:
        try:
            rows = await node_rows(record, allow_private=allow_private, probe=True)
        except CommandError as error:
            last = str(error)
        else:
            for advert in map(advert_of, rows):
                if advert is not None and advert.offers:
                    return advert
            if rows:
                last = _worst(rows)
        if last != told:
            say(last)
            told = last
        if time.monotonic() >= deadline:
            raise CommandError(
                f"waited {limit_s:g} s (--publish-s) for the node's advert and its challenge: {last}; "
                f"waypost deploy logs {record.name} shows what the node says"
            )
        await asyncio.sleep(_LOOK_EVERY_S)


async def retire(record: Record, operator_key: Path) -> bool:
    """Post a tombstone, unless there is one or never was an advert; whether one was posted."""
    if record.keys is None:
        return False
    rows = await node_rows(record, allow_private=True, probe=False)
    newest = max((row for row in rows if row.accepted), key=lambda row: row.seq or 0, default=None)
    advert = advert_of(newest) if newest is not None else None
    if advert is None or advert.is_tombstone:
        return False
    with contextlib.redirect_stdout(io.StringIO()):
        await run_retire(Retire(registry=record.registries, node=(record.keys.node,), operator_key=operator_key))
    return True


async def health(url: str, tls_spki_sha256: str | None) -> str:
    """What `GET /health` says, over the key that the advert names."""
    tls = SpkiPin(bytes.fromhex(tls_spki_sha256)) if tls_spki_sha256 else True
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_HEALTH_S)) as session,
            session.get(f"{url}/health", ssl=tls, allow_redirects=False) as response,
        ):
            return {200: "ready", 202: "able, not loaded", 503: "starting or draining"}.get(
                response.status, f"status {response.status}"
            )
    except TimeoutError:
        return f"no answer within {_HEALTH_S:g} s"
    except (aiohttp.ClientError, OSError) as error:
        return f"not reachable ({type(error).__name__})"


def advert_of(row: Row) -> Advert | None:
    """The advert of a row that was accepted."""
    if not row.accepted or row.kind != "advert":
        return None
    try:
        opened = open_signed(Envelope.parse(orjson.dumps(row.envelope).decode()))
    except Refused:
        return None
    return opened if isinstance(opened, Advert) else None


async def _waypost(*words: str) -> bytes:
    """What a waypost of our own prints, told by its command line alone. CommandError where it fails."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("WAYPOST_")}
    with tempfile.TemporaryDirectory() as nowhere:  # no waypost.toml is there
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "waypost", *words, stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env=environment, cwd=nowhere,
        )  # fmt: skip
        try:
            async with asyncio.timeout(_JUDGE_S):
                out, err = await process.communicate()
        except TimeoutError as error:
            raise CommandError(f"no end of waypost {words[0]} {words[1]} within {_JUDGE_S:g} s") from error
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    if process.returncode:
        raise CommandError(one_line(err.decode("utf-8", "replace").strip().removeprefix("waypost: ")))
    return out


def _read_rows(printed: bytes) -> list[Row]:
    names = {field.name for field in fields(Row)}
    return [Row(**{name: row.get(name) for name in names}) for row in orjson.loads(printed)]


def _worst(rows: Sequence[Row]) -> str:
    newest = max(rows, key=lambda row: row.seq or 0)
    return f"its advert is refused: {newest.reason or 'it offers nothing'}" + (
        f" ({newest.detail})" if newest.detail else ""
    )


def _suffix(url: str) -> tuple[str, ...]:
    """The host alone; an address is no name that a delegation could be bound to."""
    host = urlsplit(url).hostname or ""
    return (host.lower(),) if any(letter.isalpha() for letter in host) and ":" not in host else ()
