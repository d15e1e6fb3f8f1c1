"""Who may call this node: anybody, gateways by their key, or holders of this node's own API keys.

Not here: what is public anyway (api).
"""

from __future__ import annotations

import hashlib
import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from jwt.types import Options

from registry.fields import NODE_KEY, decode_base64url, matches
from relay.errors import Forbidden, Unauthorized
from relay.http import TOKEN_HEADER

_LIFETIME_S = 60
_LEEWAY_S = 120
_KEPT_TOKENS = 1024
_LONGEST_TOKEN = 1024
_HASH = re.compile(r"sha256:([0-9a-f]{64})")
_BEARER = "bearer "
# Times are checked against the clock that is passed in.
_CLAIMS: Options = {
    "require": ["iss", "aud", "iat", "exp"], "strict_aud": True,
    "verify_exp": False, "verify_iat": False, "verify_nbf": False,
}  # fmt: skip


class AccessError(Exception):
    """An --access entry that cannot be used; one line with the fix."""


@dataclass(frozen=True)
class Caller:
    """Somebody who may call. `gateway` is the key of a gateway that has proven itself, else None.

    `share` says who counts as one where slots are short: a listed gateway, or a key of the node's own. On a node that
    is open to anybody keys are free, and so it is the address first, and then the gateway there.
    """

    gateway: str | None = None
    share: tuple[str, ...] = ("",)


class Access:
    """Checks callers. `node` is this node's public key, `now` gives Unix seconds."""

    def __init__(self, entries: tuple[str, ...], node: str, now: Callable[[], float]) -> None:
        """Raises AccessError for a key that is none, and a file that cannot be read."""
        self._open = not entries or "open" in entries
        files = [Path(entry.removeprefix("keys:")) for entry in entries if entry.startswith("keys:")]
        self._keys = frozenset(digest for file in files for digest in _read_keys(file))
        self._gateways = frozenset(entry for entry in entries if entry != "open" and not entry.startswith("keys:"))
        for gateway in self._gateways:
            if not matches(NODE_KEY, gateway):
                raise AccessError(f"--access {gateway}: this is no gateway's key; a gateway logs its own as it starts")
        self._node = node
        self._now = now
        self._verified: dict[str, tuple[str, float]] = {}

    def __repr__(self) -> str:
        who = "open" if self._open else f"gateways={len(self._gateways)} keys={len(self._keys)}"
        return f"<Access {who} tokens={len(self._verified)}>"

    def caller(self, headers: Mapping[str, str], peer: str = "") -> Caller:
        """Who calls, from the address `peer`; no header says that.

        Raises Unauthorized without valid credentials, Forbidden for a gateway that is not on the list.
        """
        token = headers.get(TOKEN_HEADER)
        gateway = self._gateway(token) if token else None
        if self._open:
            return Caller(gateway, (network(peer), gateway or ""))
        if gateway is not None and gateway in self._gateways:
            return Caller(gateway, (f"gateway {gateway}",))
        if key := self._key(headers):
            return Caller(gateway, (f"key {key}",))
        if gateway is not None:
            raise Forbidden(f"The gateway {gateway} may not call this node.", code="gateway_not_allowed")
        if token:
            raise Unauthorized(f"The {TOKEN_HEADER} is not valid.", code="invalid_token")
        if _shown_key(headers):
            raise Unauthorized("The API key is not valid.", code="invalid_api_key")
        raise Unauthorized("You must show a key to call this node.", code="missing_credentials")

    def _key(self, headers: Mapping[str, str]) -> str | None:
        """The digest of the key of ours that is shown, if it is one."""
        if not self._keys:
            return None
        key = _shown_key(headers).encode("utf-8", "surrogateescape")  # a header may hold any bytes
        digest = hashlib.sha256(key).hexdigest()
        return digest if digest in self._keys else None

    def _gateway(self, token: str) -> str | None:
        """The key that signed the token, if it is good. Kept by its text: one verification a gateway a minute."""
        now = self._now()
        kept = self._verified.get(token)
        if kept is not None and now <= kept[1]:
            return kept[0]
        checked = self._verify(token, now) if len(token) <= _LONGEST_TOKEN else None
        if checked is None:
            return None
        if len(self._verified) >= _KEPT_TOKENS:
            live = {text: entry for text, entry in self._verified.items() if now <= entry[1]}
            self._verified = live if len(live) < _KEPT_TOKENS else {}
        self._verified[token] = checked
        return checked[0]

    def _verify(self, token: str, now: float) -> tuple[str, float] | None:
        """(gateway key, last second at which the token counts), or None."""
        try:
            issuer = jwt.decode(token, options={"verify_signature": False}).get("iss")
            if not isinstance(issuer, str) or not matches(NODE_KEY, issuer):
                return None
            key = Ed25519PublicKey.from_public_bytes(decode_base64url(issuer))
            claims: dict[str, Any] = jwt.decode(
                token, key, algorithms=["EdDSA"], audience=self._node,
                options=_CLAIMS,
            )  # fmt: skip
        except (jwt.InvalidTokenError, ValueError, RecursionError):
            return None
        issued, expires = claims["iat"], claims["exp"]
        if not all(isinstance(at, int) and not isinstance(at, bool) for at in (issued, expires)):
            return None
        if not 0 <= expires - issued <= _LIFETIME_S or issued > now + _LEEWAY_S or now > expires + _LEEWAY_S:
            return None
        return issuer, expires + _LEEWAY_S


def network(address: str) -> str:
    """Whose address that is, as far as that tells: of IPv6 its /64, of which one host has all."""
    if ":" not in address:
        return address
    try:
        known = ipaddress.IPv6Address(address)
    except ValueError:
        return address
    if known.ipv4_mapped is not None:
        return str(known.ipv4_mapped)
    return known.packed[:8].hex(":", 2)


def _shown_key(headers: Mapping[str, str]) -> str:
    """As OpenAI's clients show it, or as Anthropic's do; empty if neither."""
    given = headers.get("Authorization", "")
    if given.lower().startswith(_BEARER):
        return given[len(_BEARER) :].strip()
    return headers.get("X-Api-Key", "").strip()


def _read_keys(file: Path) -> list[str]:
    """The SHA-256 of each key: one a line, as it is or as `sha256:HEX`; # begins a comment."""
    try:
        lines = [line.strip() for line in file.read_text().splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise AccessError(f"--access keys:{file}: cannot be read ({reason})") from error
    keys = [line for line in lines if line and not line.startswith("#")]
    if not keys:
        raise AccessError(f"--access keys:{file}: it holds no key; write one a line, as it is or as sha256:HEX")
    return [_digest(key, file) for key in keys]


def _digest(key: str, file: Path) -> str:
    if hashed := _HASH.fullmatch(key):
        return hashed[1]
    if key.startswith("sha256:") or not key.isascii() or len(key.split()) != 1:
        raise AccessError(f"--access keys:{file}: a line is neither a key without spaces nor sha256: and 64 hex digits")
    return hashlib.sha256(key.encode()).hexdigest()
