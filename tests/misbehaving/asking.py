"""A request to the misbehaving node, with the reply as it should be: what a fault may know."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from tests.misbehaving.engine import Reply


@dataclass(frozen=True)
class Asking:
    """`body` is the request's."""

    body: Mapping[str, Any]
    reply: Reply

    @property
    def streamed(self) -> bool:
        return bool(self.body.get("stream"))

    @property
    def continues(self) -> bool:
        """Whether it asks for the rest of an assistant's message."""
        return bool(self.body.get("messages")) and self.body["messages"][-1]["role"] == "assistant"

    @property
    def whole(self) -> bytes:
        return orjson.dumps(self.reply.whole)
