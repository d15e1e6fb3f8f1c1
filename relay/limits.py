"""For how long an upstream is waited for, by what is awaited. Not here: who looks at the clock (wire, web_source)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property


@dataclass(frozen=True)
class Limits:
    """Named time limits, in seconds. There is none on the length of a stream that goes on."""

    connect_s: float = 5.0
    head_s: float = 600.0  # a long prefill, or a whole answer that is not streamed, comes before the first byte
    gap_s: float = 120.0  # between two pieces of a stream
    first_token_s: float = 300.0  # of a stream, since it was asked for
    queue_s: float = 30.0  # for a node that has room

    @cached_property
    def of_stream(self) -> Limits:
        """The same, where the head may come with the first token and no sooner."""
        return replace(self, head_s=min(self.head_s, self.first_token_s))
