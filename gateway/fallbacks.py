"""Which models answer in another one's stead, where a request names none itself: `--fallback NAME=OTHER[,OTHER]`.

Pure. They are not followed further: the fallbacks of a fallback mean nothing, and so a circle does no harm. Imports
nothing heavier than `re`, so that `--help` is quick. Not here: those that a request names (relay.call), whether a name
means anything here and who may call it (directory, keys), and when they are asked (attempts).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from registry.fields import NAME

_NAME = re.compile(rf"{NAME}(?:@[0-9A-Za-z]+)?")
_FIX = "write NAME=OTHER, or NAME=OTHER,OTHER in the order in which they are to be asked"


class Fallbacks:
    """The configured ones."""

    def __init__(self, entries: Iterable[str] = ()) -> None:
        """`entries` as `parse_fallbacks` takes them."""
        self._others = parse_fallbacks(entries)

    def __repr__(self) -> str:
        return f"<Fallbacks {self._others}>"

    def of(self, asked: str, model: str) -> tuple[str, ...]:
        """In place of what a request asked for, which means `model`: by the one name, else by the other.

        `asked` may be an alias, or a name with an @.
        """
        others = self._others.get(asked)
        return others if others is not None else self._others.get(model, ())


def parse_fallbacks(entries: Iterable[str]) -> Mapping[str, tuple[str, ...]]:
    """Each `NAME=OTHER[,OTHER]` -> name: others, in their order. Raises ValueError with the fix."""
    found: dict[str, tuple[str, ...]] = {}
    for entry in entries:
        name, equals, rest = entry.partition("=")
        others = tuple(rest.split(","))
        if not equals or not all(_NAME.fullmatch(each) for each in (name, *others)):
            raise ValueError(f"{entry!r} names no fallback; {_FIX}")
        if name in found:
            raise ValueError(f"{name!r} has its fallbacks twice; write {name}={','.join(found[name])},{rest}")
        if name in others:
            raise ValueError(f"{entry!r}: {name!r} cannot stand in for itself; drop it")
        if twice := [each for each in others if others.count(each) > 1]:
            raise ValueError(f"{entry!r} names {twice[0]!r} twice; drop one")
        found[name] = others
    return found
