"""Signed Aleph messages of our own making, for what the SDK would not send."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from aleph.sdk.chains.ethereum import ETHAccount

from tests.fakes.aleph import CHANNEL

ALICE, BOB = (ETHAccount(private_key=bytes([number]) * 32) for number in (1, 2))


async def signed(content: dict[str, Any], kind: str, account: ETHAccount = ALICE, time: float = 1e9) -> dict[str, Any]:
    """A message with just this content, whether a node will like it or not."""
    text = json.dumps(content)
    message: dict[str, Any] = await account.sign_message(
        {
            "sender": account.get_address(),
            "chain": "ETH",
            "type": kind,
            "item_type": "inline",
            "item_content": text,
            "item_hash": hashlib.sha256(text.encode()).hexdigest(),
            "time": time,
            "channel": CHANNEL,
        }
    )
    return message


async def numbered(number: int) -> dict[str, Any]:
    """A POST of Alice's whose time and content are the number."""
    content = {"address": ALICE.get_address(), "time": number, "type": "kind", "content": number}
    return await signed(content, "POST", time=float(number))
