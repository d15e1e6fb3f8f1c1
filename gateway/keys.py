"""API keys of a gateway: who calls, and which models that key may use.

A key is 32 random bytes, so its SHA-256 is all that is kept. Not here: keys that nodes know gateways by (`tokens`).
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import orjson
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from gateway.config import KeyNewConfig
from relay.errors import Forbidden, Unauthorized

log = logging.getLogger("waypost.gateway")

_PREFIX = "wp-"
_SPAN = re.compile(r"([1-9][0-9]{0,4})([hd])")
_SPAN_S = {"h": 3600, "d": 86400}
_LOOK_S = 1.0


class KeyFileError(Exception):
    """A file of API keys that cannot be used; the text names it and the fix."""


class ApiKey(BaseModel):
    """One entry of the file. Times are Unix seconds; no models means every model, no limit the gateway's, 0 none."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    sha256: str
    models: tuple[str, ...] = ()
    created_at: int
    expires_at: int | None = None
    max_parallel: int | None = Field(default=None, ge=0, strict=True)
    requests_per_minute: int | None = Field(default=None, ge=0, strict=True)


_ENTRIES = TypeAdapter(tuple[ApiKey, ...])


@dataclass(frozen=True)
class Caller:
    """Who calls. `models` empty means every model; a limit that is None is the gateway's."""

    name: str
    models: frozenset[str] = frozenset()
    max_parallel: int | None = None
    requests_per_minute: int | None = None

    def may_use(self, *names: str) -> bool:
        """Whether any of a model's names is in this caller's scope."""
        return not self.models or any(name in self.models for name in names)

    def require(self, asked: str, *names: str) -> None:
        """Raises Forbidden for a model out of scope."""
        if not self.may_use(asked, *names):
            raise Forbidden(f"This API key may not use the model {asked!r}.", param="model", code="model_not_allowed")


ANYBODY = Caller("anybody")


class KeyRing:
    """The keys of one file, read again when the file changes. Without a file anybody may call.

    A key that was found good is taken for good for a second: a hash and a look at the file cost more than the routing
    of a request. So a new key holds at once, and one that is taken out for a moment longer.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._stamp: tuple[int, int] | None = None
        self._callers: dict[str, tuple[Caller, int | None]] = {}  # by hash, with when the key ends
        self._good: dict[str, tuple[Caller, int | None]] = {}  # the same by key, of those that were found
        self._look_at = 0.0  # until then they are taken for good
        if path is not None:
            self._stamp = _stamp(path)  # first: who writes meanwhile is read the next time
            self._callers = _callers(_read(path))

    def caller(self, headers: Mapping[str, str]) -> Caller:
        """Who sends these headers. Raises Unauthorized, which says what is wrong but never repeats the key."""
        if self._path is None:
            return ANYBODY
        scheme, _, key = headers.get("Authorization", "").partition(" ")
        key = (key if scheme.lower() == "bearer" else headers.get("X-Api-Key", "")).strip()
        if not key:
            raise Unauthorized(
                "You did not provide an API key. Send Authorization: Bearer KEY, or X-Api-Key: KEY.",
                code="missing_api_key",
            )
        found = self._good.get(key) if time.monotonic() < self._look_at else None
        caller, expires_at = found or self._find(self._path, key)
        if expires_at is not None and time.time() >= expires_at:
            raise Unauthorized("This API key has expired.", code="expired_api_key")
        return caller

    def _find(self, path: Path, key: str) -> tuple[Caller, int | None]:
        """In the file as it is now."""
        self._refresh(path)
        found = self._callers.get(_hash(key))
        if found is None:
            raise Unauthorized("Incorrect API key provided.", code="invalid_api_key")
        self._good[key] = found
        return found

    def _refresh(self, path: Path) -> None:
        stamp, self._look_at = _stamp(path), time.monotonic() + _LOOK_S
        if stamp == self._stamp:
            return
        self._stamp = stamp
        self._good.clear()
        try:
            self._callers = _callers(_read(path))
        except KeyFileError as error:
            log.error("keeping the API keys read before: %s", error)


def run_new(config: KeyNewConfig) -> int:
    """Make a key, print it once, keep its hash."""
    try:
        entries = tuple(_read(config.api_keys).values()) if config.api_keys.exists() else ()
        if any(entry.name == config.name for entry in entries):
            raise KeyFileError(f"{config.api_keys} already has a key named {config.name!r}; choose another name")
        now = int(time.time())
        key = _PREFIX + secrets.token_urlsafe(32)
        made = ApiKey(
            name=config.name,
            sha256=_hash(key),
            models=config.models,
            created_at=now,
            expires_at=_expiry(config.expires, now),
            max_parallel=config.max_parallel,
            requests_per_minute=config.requests_per_minute,
        )
        _write(config.api_keys, (*entries, made))
    except KeyFileError as error:
        raise SystemExit(f"waypost: {error}") from error
    print(key)
    return 0


def _read(path: Path) -> dict[str, ApiKey]:
    try:
        entries = _ENTRIES.validate_json(path.read_bytes())
    except OSError as error:
        raise KeyFileError(f"--api-keys {path}: {error.strerror}; make one with waypost gateway key new") from error
    except ValidationError as error:
        raise KeyFileError(f"--api-keys {path} is not a file of waypost gateway key new: {_fault(error)}") from error
    return {entry.sha256: entry for entry in entries}


def _fault(error: ValidationError) -> str:
    """The first thing that is wrong, by its field; never what stands there."""
    first = error.errors(include_input=False, include_url=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        return f"{where} is unknown here; known are {', '.join(ApiKey.model_fields)}"
    return f"{where or 'all of it'}: {first['msg']}"


def _callers(entries: Mapping[str, ApiKey]) -> dict[str, tuple[Caller, int | None]]:
    return {
        key: (
            Caller(entry.name, frozenset(entry.models), entry.max_parallel, entry.requests_per_minute),
            entry.expires_at,
        )
        for key, entry in entries.items()
    }


def _write(path: Path, entries: tuple[ApiKey, ...]) -> None:
    text = orjson.dumps([entry.model_dump() for entry in entries], option=orjson.OPT_INDENT_2) + b"\n"
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draft.touch(mode=0o600)
        draft.write_bytes(text)
        draft.replace(path)
    except OSError as error:
        raise KeyFileError(f"--api-keys {path}: {error.strerror}") from error


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        status = os.stat(path)  # noqa: PTH116 - half the price of Path.stat, and asked for by each request
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ino


def _expiry(text: str | None, now: int) -> int | None:
    if text is None:
        return None
    if span := _SPAN.fullmatch(text):
        return now + int(span[1]) * _SPAN_S[span[2]]
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise KeyFileError(f"--expires {text!r}: write 30d, 12h, or a date such as 2030-01-31") from error
    at = int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())
    if at <= now:
        raise KeyFileError(f"--expires {text!r} has passed already")
    return at


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()
