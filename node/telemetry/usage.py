"""How many tokens an answer took, as its engine says at the answer's end. Pure.

Chat, completions, Responses, Messages, embeddings and rerank each have a shape of their own, and llama-server adds
`timings`. An engine elsewhere may say anything: a figure that cannot be true is left out. Not here: the answers' bytes
on their way, and the sums (throughput).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

_MOST_TOKENS = 1 << 24  # of one answer
_MOST_MS = 86_400_000.0
_MARK = re.compile(rb'"(?:usage|timings)"')
# The objects themselves, for where what they stand in is too large to be had whole.
_FIGURES = re.compile(rb'"(usage|timings)"\s*:\s*(\{[^{}]*(?:\{[^{}]*\}[^{}]*){0,8}\})')
_INSIDE = ("response", "message")  # of an event of Responses, or of Messages


@dataclass(frozen=True)
class Usage:
    """Tokens; None where it was not said. `prompt` includes `cached`. `seconds`: what the generating took."""

    prompt: int | None = None
    generated: int | None = None
    cached: int | None = None
    seconds: float | None = None


def usage_of(texts: Iterable[bytes], *, events: bool) -> Usage:
    """Of pieces of one answer, the last first, which may be cut at their ends. What was said last counts.

    `events`: it is a stream of events, else one JSON object.
    """
    found = Usage()
    for text in texts:
        for said in _events(text) if events else _objects(text):
            found = _filled(found, said)
    if found.cached is not None and (found.prompt is None or found.cached > found.prompt):
        return Usage(found.prompt, found.generated, None, found.seconds)
    return found


def _events(text: bytes) -> Iterator[Mapping[str, Any]]:
    for line in reversed(text.splitlines()):
        if _MARK.search(line):
            yield from _objects(line.removeprefix(b"data:"))


def _objects(text: bytes) -> Iterator[Mapping[str, Any]]:
    """The object, and what it is wrapped in; of one that cannot be read, the figures that stand in it."""
    try:
        read = orjson.loads(text)
    except orjson.JSONDecodeError:
        for name, figures in reversed(_FIGURES.findall(text)):
            yield from _fragment(name.decode(), figures)
        return
    if isinstance(read, dict):
        yield read
        yield from (inner for name in _INSIDE if isinstance(inner := read.get(name), dict))


def _fragment(name: str, figures: bytes) -> Iterator[Mapping[str, Any]]:
    try:
        yield {name: orjson.loads(figures)}
    except orjson.JSONDecodeError:
        return


def _filled(found: Usage, said: Mapping[str, Any]) -> Usage:
    """What is not known yet, from one object."""
    usage, timings = _object(said, "usage"), _object(said, "timings")
    return Usage(
        _first(found.prompt, _prompt(usage), _sum(timings, "cache_n", "prompt_n")),
        _first(found.generated, _count(usage, "completion_tokens"), _count(usage, "output_tokens"),
               _count(timings, "predicted_n")),
        _first(found.cached, _count(_object(usage, "prompt_tokens_details"), "cached_tokens"),
               _count(_object(usage, "input_tokens_details"), "cached_tokens"),
               _count(usage, "cache_read_input_tokens"), _count(timings, "cache_n")),
        found.seconds if found.seconds is not None else _seconds(timings.get("predicted_ms")),
    )  # fmt: skip


def _prompt(usage: Mapping[str, Any]) -> int | None:
    """Messages leaves what was cached out of its `input_tokens`, where Responses has it in them."""
    if "cache_read_input_tokens" not in usage:
        return _first(_count(usage, "prompt_tokens"), _count(usage, "input_tokens"))
    written = _count(usage, "cache_creation_input_tokens") or 0
    read = _sum(usage, "input_tokens", "cache_read_input_tokens")
    return None if read is None else read + written


def _object(of: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = of.get(name)
    return value if isinstance(value, dict) else {}


def _sum(of: Mapping[str, Any], *names: str) -> int | None:
    counts = [_count(of, name) for name in names]
    return None if None in counts else sum(count for count in counts if count)


def _count(of: Mapping[str, Any], name: str) -> int | None:
    value = of.get(name)
    good = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST_TOKENS
    return value if good else None


def _seconds(ms: Any) -> float | None:
    good = isinstance(ms, int | float) and not isinstance(ms, bool) and 0 < ms <= _MOST_MS  # NaN is neither
    return ms / 1000 if good else None


def _first(*figures: int | None) -> int | None:
    return next((figure for figure in figures if figure is not None), None)
