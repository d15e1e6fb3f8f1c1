"""Who asks: the two signed headers of a request to a host, checked as real hosts check them."""

from __future__ import annotations

import datetime
import json
from typing import Any

from aiohttp import web
from eth_account import Account
from eth_account.messages import encode_defunct
from jwcrypto import jwk
from jwcrypto.jwa import JWA

_SKEW = datetime.timedelta(minutes=2)


def owner_of(request: web.Request, domain: str) -> str:
    """The wallet that signed for the key that signed this request. Raises HTTPUnauthorized, HTTPBadRequest."""
    try:
        header = json.loads(request.headers["X-SignedPubKey"])
        operation = json.loads(request.headers["X-SignedOperation"])
        payload, signed = bytes.fromhex(header["payload"]), bytes.fromhex(operation["payload"])
        granted, asked = json.loads(payload), json.loads(signed)
        signature = header["signature"]
        key = jwk.JWK(**granted["pubkey"])
    except (KeyError, ValueError, TypeError) as error:
        raise web.HTTPBadRequest(reason="Invalid X-SignedPubKey or X-SignedOperation") from error
    address = Account.recover_message(encode_defunct(hexstr=payload.hex()), signature=signature)
    if str(address).lower() != granted["address"].lower():
        raise web.HTTPUnauthorized(reason="Invalid signature")
    if _time(granted["expires"]) < _now():
        raise web.HTTPUnauthorized(reason="Token expired")
    _check(asked, request, domain)
    try:
        JWA.signing_alg("ES256").verify(key, signed, bytes.fromhex(operation["signature"]))
    except Exception as error:  # jwcrypto passes on whatever its backend raises
        raise web.HTTPUnauthorized(reason="Signature could not verified") from error
    return str(address).lower()


def _check(asked: dict[str, Any], request: web.Request, domain: str) -> None:
    for name, wanted in (("domain", domain), ("path", request.path), ("method", request.method)):
        if asked[name] != wanted:
            raise web.HTTPUnauthorized(reason=f"Invalid {name}")
    if abs(_time(asked["time"]) - _now()) > _SKEW:
        raise web.HTTPBadRequest(reason="Invalid X-SignedOperation fields")


def _time(text: str) -> datetime.datetime:
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)
