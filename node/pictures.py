"""Pictures that are asked for as a URL: kept for a while in the node's private folder, fetched with a signed address.

Whoever holds the address may fetch the picture, so it is signed with a key that lives as long as this store. Not here:
making pictures (engines), and the server whose route this is (api).
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import os
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from relay.errors import ApiError, NotFound, TooLarge, Unavailable

log = logging.getLogger("waypost.node")

MEDIA_TYPES = {"png": "image/png", "jpeg": "image/jpeg", "webp": "image/webp"}


@dataclass(frozen=True)
class PictureLimits:
    """How long an address works, and what all pictures together may take; the oldest leave first."""

    lifetime_s: int = 3600
    total_bytes: int = 512 * 1024 * 1024


class Pictures:
    """A store in `folder`, which is its own. `base_url` is where this node is reached, without a path."""

    def __init__(
        self,
        folder: Path,
        base_url: Callable[[], str],
        limits: PictureLimits | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._folder = folder
        self._base_url = base_url
        self._limits = limits or PictureLimits()
        self._clock = clock
        self._key = secrets.token_bytes(32)
        self._kept: dict[str, tuple[int, int]] = {}  # name -> (bytes, expires), oldest first
        self._bytes = 0  # of all of them
        folder.mkdir(mode=0o700, exist_ok=True)

    def __repr__(self) -> str:
        return f"<Pictures kept={len(self._kept)} bytes={self._bytes}>"

    async def keep(self, data: bytes, output_format: str) -> str:
        """Its address, a whole URL. Raises TooLarge for what can never be kept, Unavailable where there is no room."""
        if len(data) > self._limits.total_bytes:
            raise TooLarge("The picture is too large to be kept; ask for b64_json.", param="response_format")
        now = self._clock()
        name, expires = f"{secrets.token_urlsafe(16)}.{output_format}", int(now) + self._limits.lifetime_s
        self._kept[name] = (len(data), expires)
        self._bytes += len(data)
        self.sweep()
        asyncio.get_running_loop().call_later(self._limits.lifetime_s + 1, self.sweep)
        await self._write(name, data)
        return f"{self._base_url()}/files/{name}?expires={expires}&signature={self._signature(name, str(expires))}"

    async def _write(self, name: str, data: bytes) -> None:
        try:
            await asyncio.to_thread(_write, self._folder / name, data)
        except OSError as error:
            log.error("a picture cannot be kept: %s", error)
            self._forget(name)
            text = "There is no room here to keep the picture; ask for b64_json."
            raise Unavailable(text, param="response_format", code="no_space") from error
        if name not in self._kept:  # it had to leave before it was there
            (self._folder / name).unlink(missing_ok=True)

    def sweep(self) -> None:
        """Delete what has expired, and the oldest until the rest is within the limit."""
        now = self._clock()
        while self._kept:
            name, (_, expires) = next(iter(self._kept.items()))
            if expires > now and self._bytes <= self._limits.total_bytes:
                return
            self._forget(name)

    def _forget(self, name: str) -> None:
        size, _ = self._kept.pop(name, (0, 0))
        self._bytes -= size
        (self._folder / name).unlink(missing_ok=True)

    def routes(self) -> list[web.RouteDef]:
        """`GET /files/{name}`."""
        return [web.get("/files/{name}", self._serve)]

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        """404 for whatever is wrong, so that nobody learns what is there."""
        name, expires = request.match_info["name"], request.query.get("expires", "")
        signed = hmac.compare_digest(
            self._signature(name, expires).encode(), request.query.get("signature", "").encode(errors="replace")
        )
        self.sweep()
        if not signed or name not in self._kept:
            raise _missing()
        try:
            data = await asyncio.to_thread((self._folder / name).read_bytes)
        except FileNotFoundError:  # it expired meanwhile, or is being written
            raise _missing() from None
        headers = {"Cache-Control": "private, max-age=60", "X-Content-Type-Options": "nosniff"}
        return web.Response(body=data, content_type=MEDIA_TYPES[name.rpartition(".")[2]], headers=headers)

    def _signature(self, name: str, expires: str) -> str:
        text = f"{name}\n{expires}".encode(errors="replace")
        return hmac.new(self._key, text, hashlib.sha256).hexdigest()


def _missing() -> ApiError:
    return NotFound("There is no such file; its address may have expired.", code="file_not_found")


def _write(path: Path, data: bytes) -> None:
    """Seen whole or not at all."""
    part = path.with_suffix(".part")
    try:
        part.write_bytes(data)
        os.replace(part, path)  # noqa: PTH105
    except OSError:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise
