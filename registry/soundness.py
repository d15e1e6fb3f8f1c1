"""What holds of one authentic advert by itself: its times, its site, and the delegation behind it.

Not here: whether its operator is trusted (standing), and what other adverts say against it (claims).
"""

from __future__ import annotations

from collections.abc import Set

from registry.advert import MAX_AHEAD_S, Advert, Reason, Refused
from registry.claims import Record
from registry.periods import check_advert, check_delegation
from registry.signing import Opened
from registry.urls import check_site, parse_url

__all__ = ["Soundness"]


class Soundness:
    """By the rules of one reader, who goes to private addresses or does not. Checks raise Refused."""

    def __init__(self, allow_private: bool) -> None:
        self._allow_private = allow_private

    def record(self, opened: Opened, advert: Advert, now: float, restoring: bool = False) -> Record:
        """`sound` is what was true when the advert first came: a restart must not forget a proof for its age."""
        moment = min(now, advert.expires_at - 1) if restoring else now
        return Record(opened, advert, self._holds(advert, moment))

    def stands(self, record: Record, now: float) -> bool:
        """Does the highest advert of a node count by itself?"""
        if record.valid_until <= now:
            return False
        if not record.sound:
            return self._holds(record.advert, now)
        try:
            check_advert(record.advert, now)  # it was sound when it came: its URL still is
        except Refused:
            return False
        return True

    def check_site(self, advert: Advert) -> None:
        check_site(parse_url(advert.url), self._allow_private)

    def check_signer(
        self, opened: Opened, advert: Advert, revoked: Set[str], now: float, restoring: bool = False
    ) -> None:
        """Refuse an advert whose delegation does not hold now, or whose delegate is revoked."""
        delegation = opened.delegation
        if delegation is None:
            return
        moment = now
        if restoring and advert.seq <= (delegation.expires_at + MAX_AHEAD_S) * 1000:
            # A floor set while the delegation was valid stays. Its seq lies below every honest later one, so even a
            # forged snapshot could not use an expired delegation to bar anything.
            moment = min(now, delegation.expires_at - 1)
        check_delegation(delegation, moment)
        if opened.signer in revoked:
            raise Refused(Reason.REVOKED, f"the operator has revoked {opened.signer}")

    def _holds(self, advert: Advert, now: float) -> bool:
        try:
            check_advert(advert, now)
            self.check_site(advert)
        except Refused:
            return False
        return True
