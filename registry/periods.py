"""The clock's part in a judgement: lifetimes, expiry, and how far ahead of the reader a text may be.

Each check raises Refused. Pure: `now` is Unix seconds. Not here: signatures, floors.
"""

from __future__ import annotations

from registry.advert import (
    MAX_AHEAD_S,
    MAX_CURATION_S,
    MAX_DELEGATION_S,
    MAX_LIFETIME_S,
    Advert,
    Curation,
    Delegation,
    Reason,
    Refused,
)

__all__ = ["check_advert", "check_curation", "check_delegation", "check_not_future"]


def check_advert(advert: Advert, now: float) -> None:
    """Raise if it has expired, lives too long or comes from the future, in this order."""
    _check_period("advert", advert.issued_at, advert.expires_at, MAX_LIFETIME_S, now)
    check_not_future(advert, now)


def check_curation(curation: Curation, now: float) -> None:
    """As for adverts."""
    _check_period("curation", curation.issued_at, curation.expires_at, MAX_CURATION_S, now)
    check_not_future(curation, now)


def check_not_future(content: Advert | Curation, now: float) -> None:
    """What is far ahead of this clock sets no floor either: it would bar every honest successor."""
    for name, moment in (("issued_at", content.issued_at), ("seq", content.seq / 1000)):
        if moment > now + MAX_AHEAD_S:
            raise Refused(Reason.FUTURE, f"{name} is {moment - now:.0f} s ahead of this clock; at most {MAX_AHEAD_S}")


def check_delegation(delegation: Delegation, now: float) -> None:
    """Raise if it has expired, lives too long or comes from the future, in this order."""
    issued_at, expires_at = delegation.issued_at, delegation.expires_at
    _check_period("delegation", issued_at, expires_at, MAX_DELEGATION_S, now, Reason.DELEGATION_EXPIRED)
    if issued_at > now + MAX_AHEAD_S:
        raise Refused(Reason.FUTURE, f"the delegation is issued {issued_at - now:.0f} s ahead of this clock")


def _check_period(
    what: str, issued_at: int, expires_at: int, longest_s: int, now: float, expired: Reason = Reason.EXPIRED
) -> None:
    if expires_at <= now:
        raise Refused(expired, f"the {what} ended {now - expires_at:.0f} s ago")
    if not 0 < expires_at - issued_at <= longest_s:
        raise Refused(Reason.LIFETIME, f"the {what} is for {expires_at - issued_at} s; at most {longest_s}")
