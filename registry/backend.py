"""A board: where anybody posts anything. It promises nothing about what comes back; trust judges that.

To add one: write a class with these methods in a file of its own, give it a scheme in `open_backend`, and add a factory
to the conformance tests. Not here: what postings mean.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from registry.keys import Wallet

__all__ = [
    "Backend",
    "BackendError",
    "Pending",
    "Rejected",
    "Unreachable",
    "fetch_all",
    "open_backend",
    "scheme_and_host",
]

_KNOWN = (
    "sqlite:///relative.db, sqlite:////absolute.db, aleph+https://HOST?channel=WAYPOST, evm+https://RPC_HOST/0xCONTRACT"
)

_START = re.compile(
    r"([a-zA-Z][a-zA-Z0-9+.-]{0,30})://(?:[^/?#@]*@)*([a-zA-Z0-9._-]{1,253}|\[[0-9a-fA-F:.]+\])(?=[:/?#]|$)"
)


class BackendError(Exception):
    """The board cannot be read or written now; one line that names it and says what to do."""


class Unreachable(BackendError):
    """No answer, or none that makes sense: the host is away, slow, or not what its URL says. Trying again may help."""


class Pending(BackendError):
    """The posting was taken but is not on the board yet. Publishing the same text again asks how it went."""


class Rejected(BackendError):
    """The board refuses this posting for a reason that its poster has to mend; the text says how."""


class Backend(Protocol):
    """What the rest of the house knows of a board. Every method but `watch` ends within the backend's own limits."""

    @property
    def url(self) -> str:
        """The URL as people may see it: nothing secret is in it."""

    @property
    def board(self) -> str:
        """Names what is behind the URL. Two backends with equal `board` read one board through two hosts."""

    @property
    def faults(self) -> int:
        """How many entries the host has shown so far that nobody can have posted so: its lies, or its damage."""

    @property
    def paid(self) -> bool:
        """Does each posting cost its poster money? Then what readers can do without is better left out."""

    async def exists(self) -> bool:
        """Is there a board at all? If not, nobody has posted yet, or the URL is mistyped. Raises BackendError."""

    async def publish(self, envelope_json: str) -> None:
        """Post one text as it stands. Raises Unreachable, Pending or Rejected."""

    def fetch(self) -> AsyncIterator[list[str]]:
        """All postings, oldest first, in batches; none where no board exists. Makes none. Raises BackendError."""

    def watch(self) -> AsyncIterator[str]:
        """Each posting made since the last whole fetch (or ever); runs until cancelled, raises BackendError.

        Each comes once, unless the board was set back to an earlier state: then all may come again.
        """

    async def retire(self, operator: str, node: str, below_seq: int) -> None:
        """Tidy away the node's adverts with a lower seq, as far as the board can. A tombstone is what retires."""

    async def allow(self, delegate: str) -> bool:
        """Let `delegate` post in the name of the backend's own wallet. False: this kind of board asks for no leave."""

    async def disallow(self, delegates: Sequence[str]) -> bool:
        """End what `allow` began. False: this kind of board asks for no leave."""

    async def vm_owner(self, item_hash: str) -> str | None:
        """The address that provably owns the virtual machine `item_hash`; None if none does or the board has no VMs."""

    async def close(self) -> None:
        """Release what is held; a second time does nothing."""


async def fetch_all(backend: Backend) -> list[str]:
    """All postings, oldest first; raises BackendError."""
    return [text async for batch in backend.fetch() for text in batch]


def open_backend(url: str, *, author: Wallet | None = None, payer: Wallet | None = None) -> Backend:
    """The backend that `url` names, not connected yet; ValueError names the fix.

    `author` signs what is posted there (operator, delegate or curator); `payer` pays for it where a chain asks for
    that. A backend that is only read needs neither.
    """
    scheme = url.partition(":")[0]
    if scheme == "sqlite":
        from registry.local import SqliteBackend

        return SqliteBackend(url)
    if scheme in ("aleph+https", "aleph+http"):
        from registry.aleph import AlephBackend

        return AlephBackend(url, author or payer)
    if scheme in ("evm+https", "evm+http"):
        from registry.evm import EvmBackend

        return EvmBackend(url, payer)
    shown = scheme_and_host(url)
    named = f" {scheme!r}" if shown.startswith(scheme + ":") else ""
    raise ValueError(f"registry {shown}: unknown scheme{named}; known: {_KNOWN}")


def scheme_and_host(url: str) -> str:
    """As much of any text given for a URL as can be shown: keys may stand in all the rest."""
    match = _START.match(url)
    return f"{match[1]}://{match[2]}" if match else "URL"
