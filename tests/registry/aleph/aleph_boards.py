"""How the tests open a node's board: by a fixture that closes it, where it matters with shorter waits.

Many tests share a node, so each has a channel of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import postings as p

from registry.aleph import AlephBackend, Limits
from tests.fakes.aleph import AlephNode
from tests.fakes.signed import BOB

LIMIT_S = 90
TEXTS = [p.own(seq=number).to_json() for number in range(5)]
LIES: list[dict[str, Any]] = [
    {"alter_item_content": True},
    {"break_signature": True},
    {"swap_sender": BOB.get_address()},
    {"swap_sender": "0x" + "00" * 20},
]
Opener = Callable[..., AlephBackend]
SHORT = Limits(
    connect_s=1.0,
    request_s=1.0,
    heartbeat_s=1.0,
    first_look_s=0.1,
    look_every_s=0.2,
    submit_s=2.0,
    settle_s=0.2,
    ask_every_s=0.05,
)


class Channel(AlephNode):
    """A shared node as one test sees it: its registry is a channel of that test alone."""

    def __init__(self, node: AlephNode, name: str) -> None:
        super().__init__(node.url, node.program, node._session)
        self.name = name

    @property
    def registry(self) -> str:
        return f"aleph+{self.url}?channel={self.name}"


async def posted(board: AlephBackend, texts: Sequence[str] = TEXTS) -> None:
    for text in texts:
        await board.publish(text)


async def first(watching: AsyncIterator[str]) -> str:
    return await asyncio.wait_for(anext(watching), LIMIT_S)
