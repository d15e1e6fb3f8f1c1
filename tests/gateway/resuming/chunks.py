"""A stream's events as llama-server writes them, and a sink that tells what came through."""

from __future__ import annotations

from typing import Any

import orjson

from gateway.resuming import events
from gateway.resuming.checked import Checked
from gateway.resuming.rest import Rest
from gateway.resuming.said import Said
from gateway.resuming.ways import Way
from tests.relay.wire.scene import Basin

DONE = events.DONE_EVENT


def split(data: bytes) -> tuple[list[bytes], bytes]:
    """Whole events, each with its empty line, and what has begun."""
    part = bytearray()
    return events.gather(part, data), bytes(part)


def event(*choices: dict[str, Any], id: str = "first", **more: Any) -> bytes:
    """One event of these choices."""
    head = {"choices": list(choices), "created": 1700000000, "id": id, "model": "m", "object": "chat.completion.chunk"}
    return b"data: " + orjson.dumps({**head, **more}) + b"\n\n"


def role(id: str = "first", index: int = 0) -> bytes:
    return event({"finish_reason": None, "index": index, "delta": {"role": "assistant", "content": None}}, id=id)


def word(text: str, id: str = "first", index: int = 0, **more: Any) -> bytes:
    return event({"finish_reason": None, "index": index, "delta": {"content": text}, **more}, id=id)


def delta(id: str = "first", **fields: Any) -> bytes:
    return event({"finish_reason": None, "index": 0, "delta": fields}, id=id)


def finish(reason: str = "stop", id: str = "first", index: int = 0) -> bytes:
    return event({"finish_reason": reason, "index": index, "delta": {}}, id=id)


def usage(prompt: int, generated: int, id: str = "first") -> bytes:
    counts = {"prompt_tokens": prompt, "completion_tokens": generated, "total_tokens": prompt + generated}
    return event(id=id, usage=counts)


def call(arguments: str, *, name: str | None = None, call_id: str | None = None, id: str = "first") -> bytes:
    """A piece of a tool call; `name` and `call_id` where it begins."""
    function: dict[str, Any] = {"arguments": arguments} | ({"name": name} if name else {})
    begun = {"id": call_id, "type": "function"} if call_id else {}
    return delta(id=id, tool_calls=[{"index": 0, **begun, "function": function}])


class Heard:
    """What a client has, as it would read it, of a first answer and of what went on with it."""

    def __init__(self, answers: int = 1) -> None:
        self.basin = Basin()
        self.said = Said(answers)
        self.finished = 0
        self.sink = Checked(self.basin, self.said, self._finished)

    def _finished(self) -> None:
        self.finished += 1

    def first(self, *pieces: bytes) -> None:
        """The first answer brings these."""
        for piece in pieces:
            self.sink.write(piece)

    def then(self, *pieces: bytes, way: Way = Way.REPLAY, echoed: bool = True) -> None:
        """Another node brings these."""
        self.sink = Rest(self.basin, self.said, self._finished, way, echoed=echoed, note="resumed")
        for piece in pieces:
            self.sink.write(piece)

    @property
    def parsed(self) -> list[dict[str, Any]]:
        whole, part = split(self.basin.bytes)
        assert not part
        payloads = [events.payload(event) for event in whole]
        return [orjson.loads(payload) for payload in payloads if payload and payload != events.DONE]

    @property
    def text(self) -> str:
        return self.channel("content")

    def channel(self, name: str, index: int = 0) -> str:
        """The texts of one field of the deltas, put together."""
        choices = [choice for parsed in self.parsed for choice in parsed["choices"] if choice["index"] == index]
        return "".join(choice.get("delta", choice).get(name) or "" for choice in choices)

    @property
    def ids(self) -> set[str]:
        return {parsed["id"] for parsed in self.parsed}
