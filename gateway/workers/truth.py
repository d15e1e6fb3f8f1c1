"""What requests are answered by: a follower and a prover of this process, or the replica that a worker has of them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Protocol

from gateway.challenge import Identity
from gateway.directory import Directory
from gateway.hosts import HostState

__all__ = ["Proofs", "Truth"]


class Truth(Protocol):
    """What is believed. `ready` once something has been read."""

    ready: asyncio.Event
    directory: Directory

    def registries(self) -> Iterable[HostState]:
        """What is known of each host."""


class Proofs(Protocol):
    """Which nodes have proven themselves."""

    @property
    def proven_count(self) -> int: ...

    def proven(self, who: Identity) -> bool:
        """The holder of that node key, at that URL with that TLS key."""
