"""Why a posting was refused: one name a cause, the protocol's own words.

Not here: the checks themselves (canonical, urls, envelope, signing, trust).
"""

from __future__ import annotations

from enum import StrEnum

__all__ = ["Reason", "Refused"]


class Reason(StrEnum):
    """The names of `protocol.md`, in its order."""

    MALFORMED = "malformed"
    NOT_CANONICAL = "not canonical"
    TOO_LARGE = "too large"
    VERSION = "version"
    BAD_SIGNATURE = "bad signature"
    WRONG_SIGNER = "wrong signer"
    BAD_NODE_SIGNATURE = "bad node signature"
    NO_DELEGATION = "no delegation"
    DELEGATION_EXPIRED = "delegation expired"
    REVOKED = "revoked"
    OUT_OF_SCOPE = "out of scope"
    EXPIRED = "expired"
    LIFETIME = "lifetime"
    FUTURE = "future"
    STALE = "stale"
    EQUIVOCATION = "equivocation"
    UNTRUSTED_OPERATOR = "untrusted operator"
    URL_REFUSED = "url refused"
    CHALLENGE_FAILED = "challenge failed"


class Refused(Exception):
    """A posting, or a part of it, that must not be used. `str()` is "reason: detail"."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason.value}: {detail}")
        self.reason = reason
        self.detail = detail
