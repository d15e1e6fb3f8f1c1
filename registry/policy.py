"""Whom a reader trusts: what `--trust` and `--allow-private` say. Not here: what follows from it (trust)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from registry.fields import ADDRESS, matches

__all__ = ["Policy"]

_ANY = "any"
_CURATOR = "curator:"


@dataclass(frozen=True)
class Policy:
    """`entries` in the order given: "any", an operator's address, or "curator:" and a curator's address."""

    entries: tuple[str, ...]
    allow_private: bool = False

    @classmethod
    def parse(cls, entries: tuple[str, ...], allow_private: bool = False) -> Policy:
        """Check what a person wrote (addresses in any case); ValueError names the fix."""
        if not entries:
            raise ValueError("trust: say whom to trust: any, 0xADDRESS of an operator, or curator:0xADDRESS")
        known = tuple(dict.fromkeys(entry.strip().lower() for entry in entries))
        for entry in known:
            if entry != _ANY and not matches(ADDRESS, entry.removeprefix(_CURATOR)):
                raise ValueError(
                    f"trust: {entry!r} is none of any, 0xADDRESS (40 hex digits after 0x) and curator:0xADDRESS"
                )
        return cls(known, allow_private)

    @cached_property
    def any_operator(self) -> bool:
        return _ANY in self.entries

    @cached_property
    def operators(self) -> frozenset[str]:
        return frozenset(entry for entry in self.entries if entry != _ANY and not entry.startswith(_CURATOR))

    @cached_property
    def curators(self) -> tuple[str, ...]:
        """In the order of the entries, which decides where they differ."""
        return tuple(entry.removeprefix(_CURATOR) for entry in self.entries if entry.startswith(_CURATOR))
