"""What the gateway remembers over a restart: signed postings, and when each name was last valid.

The postings are verified again when they are read, so the file is trusted for no more than the registry is.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from gateway.pace import Pace
from registry.advert import Envelope

log = logging.getLogger("waypost.gateway")
_VERSION = 1
_CHUNK_BYTES = 2**20


@dataclass(frozen=True)
class Memory:
    """`postings` as `Trust.snapshot` gives them; `names` to the Unix second of their last validity."""

    postings: list[dict[str, Any]] = field(default_factory=list)
    names: dict[str, float] = field(default_factory=dict)


class Snapshot:
    """One file for one set of registries and one listening address."""

    def __init__(self, folder: Path, registries: tuple[str, ...], listen: str) -> None:
        digest = hashlib.sha256("\n".join((listen, *sorted(registries))).encode()).hexdigest()
        self.path = folder / f"gateway-{digest[:16]}.json"

    def load(self) -> Memory:
        """An absent or broken file is an empty memory; a broken one is logged."""
        try:
            content = orjson.loads(self.path.read_bytes())
        except FileNotFoundError:
            return Memory()
        except (OSError, orjson.JSONDecodeError) as error:
            log.warning("the snapshot %s cannot be read (%s); starting without it", self.path, error)
            return Memory()
        if not isinstance(content, dict) or content.get("version") != _VERSION:
            log.warning("the snapshot %s is of another version; starting without it", self.path)
            return Memory()
        return Memory(_dicts(content.get("postings")), _times(content.get("names")))

    def save(self, memory: Memory) -> None:
        """Replace the file in one step. Blocking: call it in a thread."""
        draft = self.path.with_suffix(f".{os.getpid()}")
        content = {"version": _VERSION, "postings": memory.postings, "names": memory.names}
        try:
            draft.touch(mode=0o600)
            draft.write_bytes(orjson.dumps(content))
            draft.replace(self.path)
        except OSError as error:
            self._failed(error)

    async def write(self, names: dict[str, float], pieces: Iterable[Sequence[Envelope]]) -> None:
        """The same, piece by piece, without holding the loop."""
        draft = self.path.with_suffix(f".{os.getpid()}.part")
        try:
            draft.touch(mode=0o600)
            with draft.open("wb") as file:
                async for chunk in _chunks(names, pieces):
                    await asyncio.to_thread(file.write, chunk)
            draft.replace(self.path)
        except OSError as error:
            self._failed(error)
        finally:
            draft.unlink(missing_ok=True)

    def _failed(self, error: OSError) -> None:
        log.error("the snapshot %s cannot be written: %s", self.path, error.strerror)


async def _chunks(names: dict[str, float], pieces: Iterable[Sequence[Envelope]]) -> AsyncIterator[bytes]:
    """The same text as `save` writes, in parts of some size."""
    pace, separator = Pace(), b""
    chunk = bytearray(b'{"version":%d,"names":%s,"postings":[' % (_VERSION, orjson.dumps(names)))
    for piece in pieces:
        for envelope in piece:
            chunk += separator + orjson.dumps(envelope.to_dict())
            separator = b","
            await pace.step()
        if len(chunk) > _CHUNK_BYTES:
            yield bytes(chunk)
            chunk.clear()
    yield bytes(chunk + b"]}")


def _dicts(value: object) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _times(value: object) -> dict[str, float]:
    items: Mapping[Any, Any] = value if isinstance(value, dict) else {}
    return {name: float(at) for name, at in items.items() if isinstance(at, int | float)}
