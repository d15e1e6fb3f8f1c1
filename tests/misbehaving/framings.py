"""Ways in which other engines, and proxies in between, write the same stream. All of them are right.

Each takes a stream's events and gives the pieces that are sent. Not here: what is wrong (faults, breaks).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from tests.misbehaving.engine import DONE

_STEP = 100
Framing = Callable[[list[bytes]], list[bytes]]


def _straddling(events: list[bytes]) -> list[bytes]:
    """Pieces that end wherever they end, but nowhere with an event."""
    stream = b"".join(events)
    return [stream[at : at + _STEP] for at in range(0, len(stream), _STEP)]


def _rewritten(change: Callable[[list[dict[str, Any]]], list[dict[str, Any]]], *, ascii_only: bool = False) -> Framing:
    """The chunks otherwise than llama-server has them."""

    def rewrite(events: list[bytes]) -> list[bytes]:
        chunks = change([json.loads(each[6:]) for each in events[:-1]])
        return [b"data: " + json.dumps(each, ensure_ascii=ascii_only).encode() + b"\n\n" for each in chunks] + [DONE]

    return rewrite


def _text(chunk: dict[str, Any]) -> str | None:
    choice = chunk["choices"][0] if chunk["choices"] else {}
    found: str | None = choice.get("text") or choice.get("delta", {}).get("content")
    return found


def _in_fours(chunks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Four tokens a chunk."""
    made: list[dict[str, Any]] = []
    held = 0
    for chunk in chunks:
        text = _text(chunk)
        if text and held % 4:
            choice = made[-1]["choices"][0]
            said = choice if "text" in choice else choice["delta"]
            said["text" if "text" in choice else "content"] += text
        else:
            made.append(chunk)
        held = held + 1 if text else 0
    return made


def _finish_with_the_last(chunks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Why it ends stands beside the last token."""
    finish = next(i for i, each in enumerate(chunks) if each["choices"] and each["choices"][0]["finish_reason"])
    chunks[finish - 1]["choices"][0]["finish_reason"] = chunks[finish]["choices"][0]["finish_reason"]
    if "usage" in chunks[finish]:
        chunks[finish - 1]["usage"] = chunks[finish]["usage"]
    return chunks[:finish] + chunks[finish + 1 :]


def _role_everywhere(chunks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    for chunk in chunks:
        for choice in chunk["choices"]:
            if "delta" in choice:
                choice["delta"]["role"] = "assistant"
    return chunks


def _usage_null(chunks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"usage": None, **chunk} for chunk in chunks]


def _empty_between(chunks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Chunks that say nothing, between those that do."""
    made = []
    for chunk in chunks:
        if _text(chunk):
            choice = chunk["choices"][0]
            nothing = {"text": ""} if "text" in choice else {"delta": {"content": ""}}
            made.append({**chunk, "choices": [{**choice, **nothing}]})
        made.append(chunk)
    return made


FRAMINGS: Mapping[str, Framing] = {
    "events": list,
    "one packet": lambda events: [b"".join(events)],
    "bytes": lambda events: [bytes([each]) for each in b"".join(events)],
    "straddling": _straddling,
    "crlf": lambda events: [each.replace(b"\n\n", b"\r\n\r\n") for each in events],
    "no space": lambda events: [each.replace(b"data: ", b"data:", 1) for each in events],
    "comments": lambda events: [b": still here\n\n" + each for each in events],
    "named": lambda events: [b"event: message\nid: 7\n" + each for each in events],
    "two ends": lambda events: [*events, DONE],
    "escaped": _rewritten(list, ascii_only=True),
    "in fours": _rewritten(_in_fours),
    "finish with the last": _rewritten(_finish_with_the_last),
    "role everywhere": _rewritten(_role_everywhere),
    "usage null": _rewritten(_usage_null),
    "empty between": _rewritten(_empty_between),
}
