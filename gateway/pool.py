"""Candidates from which some are drawn at random, at the price of those that are drawn."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Generic, TypeVar

_Spot = TypeVar("_Spot")
_Who = TypeVar("_Who")


class Pool(Generic[_Spot, _Who]):
    """Who stands at which spot, in no order that means anything."""

    def __init__(self) -> None:
        self._places: dict[_Spot, int] = {}
        self._standing: list[tuple[_Spot, _Who]] = []

    def __repr__(self) -> str:
        return f"<Pool {len(self)}>"

    def __len__(self) -> int:
        return len(self._standing)

    def __iter__(self) -> Iterator[_Who]:
        return (who for _, who in self._standing)

    def __contains__(self, spot: _Spot) -> bool:
        return spot in self._places

    def add(self, spot: _Spot, who: _Who) -> None:
        """At a spot where nobody stands."""
        self._places[spot] = len(self._standing)
        self._standing.append((spot, who))

    def remove(self, spot: _Spot) -> _Who:
        """The last one moves into the gap."""
        place, last = self._places.pop(spot), self._standing.pop()
        if place == len(self._standing):
            return last[1]
        gone, self._standing[place] = self._standing[place], last
        self._places[last[0]] = place
        return gone[1]

    def draw(self) -> Iterator[_Who]:
        """Everybody once, in an order that is random each time; may be left early. Not to be changed meanwhile."""
        moved: dict[int, int] = {}
        for place in range(len(self._standing)):
            drawn = random.randrange(place, len(self._standing))  # noqa: S311
            yield self._standing[moved.get(drawn, drawn)][1]
            moved[drawn] = moved.get(place, place)
