"""Bend JSON values at random, from a seed: what a hostile host or poster might show. Pure.

Not here: serving what comes out (mutant_aleph, mutant_chain).
"""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable
from typing import Any

_ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1.5, 2**63, 10**40, float("1e308"), "", "0x", "\x00", "\ud800", "é\u202e", "[" * 5000,
    "A" * 70_000, [], {}, [[]], {"": None}, {"type": "waypost"}, "null", "0" * 64, "0x" + "f" * 130,
)  # fmt: skip


def mutated(value: Any, others: list[Any], rng: random.Random) -> Any:
    """A copy of `value` with one to three changes; some are taken from `others`, values of the same kind."""
    changed = copy.deepcopy(value)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        holder, key = _place(changed, rng)
        if holder is None:
            continue
        holder[key] = _changed(holder[key], _counterpart(others, rng, key), rng)
        if isinstance(holder, dict) and rng.random() < 0.08:
            del holder[key]
    return changed


def _place(value: Any, rng: random.Random) -> tuple[Any, Any]:
    """A container inside `value` and a key of it."""
    holder, key = None, None
    while isinstance(value, dict | list) and value:
        holder, key = value, rng.choice(list(value) if isinstance(value, dict) else range(len(value)))
        value = holder[key]
        if rng.random() < 0.2:
            break
    return holder, key


def _counterpart(others: list[Any], rng: random.Random, key: Any) -> Any:
    other = rng.choice(others)
    return other.get(key) if isinstance(other, dict) else None


def _changed(value: Any, counterpart: Any, rng: random.Random) -> Any:
    kind = rng.random()
    if kind < 0.15:
        return copy.deepcopy(rng.choice(_ODD))
    if kind < 0.3:
        return copy.deepcopy(counterpart)
    if isinstance(value, str):
        return _bent(value, rng)
    if isinstance(value, bool) or value is None:
        return rng.choice(_ODD)
    if isinstance(value, int | float):
        return rng.choice((value + 1, value - 1, -value, value * 1000, float(value), str(value)))
    return [value] if rng.random() < 0.5 else copy.deepcopy(rng.choice(_ODD))


def _bent(text: str, rng: random.Random) -> str:
    inner = _parsed(text)
    if inner is not None and rng.random() < 0.7:
        return json.dumps(mutated(inner, [inner], rng), separators=(",", ":"))
    at = rng.randrange(len(text) + 1)
    bends: tuple[Callable[[], str], ...] = (
        lambda: text[:at],
        lambda: text[at:],
        lambda: text[:at] + rng.choice(("0", "f", " ", "\x00", "é", "\ud800", "}", '"', "\\")) + text[at + 1 :],
        lambda: text[:at] + rng.choice((" ", "0", ",", "\n")) + text[at:],
        text.upper,
        text.swapcase,
        lambda: text * 2,
        lambda: text.removeprefix("0x"),
        lambda: text + "\n",
    )
    return rng.choice(bends)()


def _parsed(text: str) -> Any:
    if not text.startswith("{"):
        return None
    try:
        return json.loads(text)
    except ValueError:
        return None
