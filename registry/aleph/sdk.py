"""Aleph's SDK, imported here and nowhere else: its client, signing with our wallet, quiet, and always inline.

By itself it reads an answer of any size into memory and goes wherever a host sends it; the session it gets does not.

Importing this file takes half a second and 80 MiB, so only what posts does it (writer).
"""

from __future__ import annotations

import json
import logging
from typing import Any, Self

import aiohttp
from aleph.sdk.client.authenticated_http import AuthenticatedAlephHttpClient
from aleph.sdk.conf import settings
from aleph.sdk.exceptions import BroadcastError, InvalidMessageError
from aleph.sdk.utils import extended_json_encoder
from aleph_message.models import MessageType
from aleph_message.status import MessageStatus

from registry.aleph.messages import MAX_CONTENT, checksum, signed_text
from registry.answers import read_at_most
from registry.keys import Wallet

__all__ = ["ANSWER_LIMIT_BYTES", "BroadcastError", "InvalidMessageError", "MessageStatus", "MessageType", "connect"]

ANSWER_LIMIT_BYTES = 2**20  # to a message; an honest one has some hundred


class _Account:
    """Our wallet as the SDK's `Account`."""

    CHAIN = "ETH"
    CURVE = "secp256k1"

    def __init__(self, wallet: Wallet) -> None:
        self._wallet = wallet

    def get_address(self) -> str:
        return checksum(self._wallet.address)

    def get_public_key(self) -> str:
        raise NotImplementedError("only for encryption, which is not used")

    async def sign_raw(self, buffer: bytes) -> bytes:
        return bytes.fromhex(self._wallet.sign_message(buffer)[2:])

    async def sign_message(self, message: dict[str, Any]) -> dict[str, Any]:
        kind = str(getattr(message["type"], "value", message["type"]))
        signed = signed_text(self.CHAIN, message["sender"], kind, message["item_hash"])
        return {**message, "signature": self._wallet.sign_message(signed)}


class _Answer(aiohttp.ClientResponse):
    """An answer within the limit; whoever reads more gets an error."""

    async def read(self) -> bytes:
        if self._body is None:
            self._body = await read_at_most(self, ANSWER_LIMIT_BYTES)
        return await super().read()


class _Client(AuthenticatedAlephHttpClient):
    """The SDK's client over a session of ours; without one it would make its own."""

    async def __aenter__(self) -> Self:
        self._http_session = aiohttp.ClientSession(
            base_url=self.api_server,
            json_serialize=lambda value: json.dumps(value, default=extended_json_encoder),
            response_class=_Answer,
            middlewares=(_stay,),
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        await super().__aenter__()  # type: ignore[no-untyped-call]
        return self


def connect(origin: str, wallet: Wallet) -> AuthenticatedAlephHttpClient:
    """A client of the node at `origin`, to be entered. What goes wrong it raises; its log would say it again."""
    logging.getLogger("aleph").setLevel(logging.CRITICAL)
    settings.MAX_INLINE_SIZE = MAX_CONTENT + 1  # beyond, it would put the content where our readers do not look
    return _Client(_Account(wallet), api_server=origin, allow_unix_sockets=False)


async def _stay(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """A signed message goes to the host that was named, and to no other."""
    response = await handler(request)
    if 300 <= response.status < 400:
        response.close()
        raise aiohttp.ClientError(f"answered {response.status}, a redirect")
    return response
