"""Where a connection to an upstream stands, and what it means if it ends just there."""

from __future__ import annotations

from enum import Enum

from relay.errors import ApiError, BadUpstream, Reset, UpstreamTimeout


class Phase(Enum):
    IDLE = "idle"
    HEAD = "head"  # asked, and the answer's head is not whole yet
    BODY = "body"
    FULL = "full"  # the same, while the client takes no more
    CLOSED = "closed"

    def closed(self) -> ApiError:
        if self in (Phase.BODY, Phase.FULL):
            return Reset("The upstream broke off its answer.", code="upstream_broken")
        return Reset("The upstream closed the connection without an answer.", code="upstream_reset")

    def malformed(self) -> ApiError:
        code = "upstream_reset" if self is Phase.HEAD else "upstream_broken"
        return BadUpstream("The upstream's answer is not valid HTTP.", code=code)

    def overdue(self) -> Exception:
        if self is Phase.HEAD:
            return UpstreamTimeout("The upstream did not answer in time.", code="head_timeout")
        if self is Phase.FULL:
            return ConnectionAbortedError("the client took nothing")
        return UpstreamTimeout("The upstream fell silent.", code="gap_timeout")
