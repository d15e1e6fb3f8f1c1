"""A board: where anybody posts anything. It promises nothing about what comes back; trust judges that.

To add one: write a class with these methods in a file of its own, give it a scheme in `open_backend`, and add a factory
to the conformance tests. Not here: what postings mean.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol

__all__ = ["Backend", "BackendError", "open_backend"]

_LATER = {
    "aleph+https": "waypost[aleph]",
    "aleph+http": "waypost[aleph]",
    "evm+https": "waypost[evm]",
    "evm+http": "waypost[evm]",
}


class BackendError(Exception):
    """The board cannot be read or written now; one line that names it and says what to do."""


class Backend(Protocol):
    """What the rest of the house knows of a board. Every method but `watch` ends within the backend's own limits."""

    @property
    def url(self) -> str: ...

    async def exists(self) -> bool:
        """Is there a board at all? If not, nobody has posted yet, or the URL is mistyped. Raises BackendError."""

    async def publish(self, envelope_json: str) -> None:
        """Post one text as it stands; raises BackendError."""

    async def fetch(self) -> list[str]:
        """All postings, oldest first; none where no board exists, which is not made. Raises BackendError."""

    def watch(self) -> AsyncIterator[str]:
        """Each posting made since the last fetch; runs until cancelled, raises BackendError.

        Each comes once, unless the board was set back to an earlier state: then all come again.
        """

    async def retire(self, operator: str, node: str, below_seq: int) -> None:
        """Tidy away the node's adverts with a lower seq, as far as the board can. A tombstone is what retires."""

    async def close(self) -> None:
        """Release what is held; a second time does nothing."""


def open_backend(url: str) -> Backend:
    """The backend that `url` names, not connected yet; ValueError names the fix."""
    scheme = url.partition(":")[0]
    if scheme == "sqlite":
        from registry.local import SqliteBackend

        return SqliteBackend(url)
    if scheme in _LATER:
        raise ValueError(f"registry {url}: this version has no {scheme} boards yet; a later {_LATER[scheme]} will")
    raise ValueError(f"registry {url}: unknown scheme {scheme!r}; known: sqlite:///relative.db, sqlite:////absolute.db")
