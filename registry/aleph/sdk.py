"""Aleph's SDK, imported here and nowhere else: its client, signing with our wallet, quiet, and always inline.

Importing this file takes half a second and 80 MiB, so only what posts does it (writer).
"""

from __future__ import annotations

import logging
from typing import Any

from aleph.sdk.client.authenticated_http import AuthenticatedAlephHttpClient
from aleph.sdk.conf import settings
from aleph.sdk.exceptions import BroadcastError, InvalidMessageError
from aleph_message.models import MessageType
from aleph_message.status import MessageStatus

from registry.aleph.messages import MAX_CONTENT, checksum
from registry.keys import Wallet

__all__ = ["BroadcastError", "InvalidMessageError", "MessageStatus", "MessageType", "connect"]


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
        signed = "\n".join((self.CHAIN, message["sender"], kind, message["item_hash"]))
        return {**message, "signature": self._wallet.sign_message(signed.encode())}


def connect(origin: str, wallet: Wallet) -> AuthenticatedAlephHttpClient:
    """A client of the node at `origin`, to be entered. What goes wrong it raises; its log would say it again."""
    logging.getLogger("aleph").setLevel(logging.CRITICAL)
    settings.MAX_INLINE_SIZE = MAX_CONTENT + 1  # beyond, it would put the content where our readers do not look
    return AuthenticatedAlephHttpClient(_Account(wallet), api_server=origin, allow_unix_sockets=False)
