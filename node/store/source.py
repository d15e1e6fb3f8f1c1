"""One file that is to be fetched, as its scheme was resolved.

Not here: who resolves (hub, aleph, resolving).
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Source:
    """`name` is the file's here. `size` in bytes and `sha256` as far as they are known before it comes.

    `authorization` is a header for the URL's own origin alone.
    """

    name: str
    url: str
    size: int | None = None
    sha256: str | None = None
    authorization: str | None = field(default=None, repr=False)
