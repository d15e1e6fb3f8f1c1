"""The truth as workers are told it: read from a follower and a prover. Not here: who was told what (feed)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from gateway.challenge import Prover, identity
from gateway.refresh import Follower
from gateway.workers.rows import Row
from registry.trust import Key

__all__ = ["Source"]


class Source:
    """Reads, and changes nothing."""

    def __init__(self, follower: Follower, prover: Prover, clock: Callable[[], float]) -> None:
        self._follower = follower
        self._prover = prover
        self._clock = clock

    def __repr__(self) -> str:
        return f"<Source of {self._follower!r} settled={self.settled}>"

    @property
    def settled(self) -> bool:
        """Is the directory the last one that was told of as a whole?"""
        return self._follower.settled

    def keys(self) -> Sequence[Key]:
        """Of all that is believed."""
        return self._follower.directory.all_keys()

    def names(self) -> dict[str, float]:
        """When each name was last valid."""
        return self._follower.directory.names_seen(self._clock())

    def row(self, key: Key) -> Row:
        """What is known of a node now."""
        believed = self._follower.directory.get(key)
        if believed is None:
            return Row(key, None)
        owned = self._follower.ownership.owns(believed)
        return Row(key, believed, self._prover.proven(identity(believed.advert)), owned)

    def curation(self) -> dict[str, Any]:
        """What curators say names mean, by the directory in force."""
        curation = self._follower.curation
        return {"models": {}, "slugs": {}} if curation is None else {
            "models": dict(curation.models), "slugs": dict(curation.slugs)
        }  # fmt: skip

    def state(self) -> dict[str, Any]:
        """What else a worker says of registries."""
        registries = [asdict(each) for each in self._follower.registries()]
        return {"ready": self._follower.ready.is_set(), "registries": registries}
