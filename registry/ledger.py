"""What is known of one operator: claims by node, and its revocations, within a bound in bytes.

The bound is what one operator, and one delegate of it, can make a reader keep. A delegate's share is smaller: a stolen
delegate key cannot crowd out the operator, and a revocation frees its share. Not here: policy, signatures.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from registry.advert import MAX_LIFETIME_S, Envelope, Reason, Refused, Revocation
from registry.claims import Claims, Record

__all__ = ["MAX_DELEGATE_BYTES", "MAX_OPERATOR_BYTES", "MAX_REVOCATION_BYTES", "Ledger"]

MAX_OPERATOR_BYTES = 8 * 2**20
MAX_DELEGATE_BYTES = 2 * 2**20
MAX_REVOCATION_BYTES = 2**20

_NOTHING = Claims()


class Ledger:
    """One operator's state. Refusing something leaves it as it was."""

    def __init__(self) -> None:
        self._claims: dict[str, Claims] = {}
        self._held: Counter[str] = Counter()
        self._total = 0
        self._revocations: dict[str, tuple[Revocation, Envelope]] = {}
        self.revoked: frozenset[str] = frozenset()

    def __repr__(self) -> str:
        return f"Ledger(nodes={len(self._claims)}, bytes={self._total}, revoked={len(self.revoked)})"

    @property
    def nodes(self) -> Mapping[str, Claims]:
        return self._claims

    def claims(self, node: str) -> Claims:
        return self._claims.get(node, _NOTHING)

    def add(self, record: Record, now: float) -> bool:
        """Take an authentic advert; True if that changed anything. Raises Refused (too large) beyond the bound."""
        node = record.advert.node
        before = self.claims(node)
        after = before.adding(record)
        if after is before:
            return False
        if not self._has_room(record, before, after):
            self._forget(now)
            self.check_room(record)
        self._put(node, self.claims(node).adding(record))
        return True

    def check_room(self, record: Record) -> None:
        if not self.has_room(record):
            raise Refused(Reason.TOO_LARGE, f"{record.signer} has signed more adverts than are kept of one key")

    def has_room(self, record: Record) -> bool:
        """Is `record` kept already, or is there room for what it adds?"""
        before = self.claims(record.advert.node)
        return self._has_room(record, before, before.adding(record))

    def _has_room(self, record: Record, before: Claims, after: Claims) -> bool:
        if after is before or self._total - before.size + after.size <= MAX_DELEGATE_BYTES:
            return True
        added = after.sizes.get(record.signer, 0) - before.sizes.get(record.signer, 0)
        mine = self._held[record.signer] + added
        if added <= 0 or record.own:
            return added <= 0 or mine <= MAX_OPERATOR_BYTES
        by_delegates = self._total - self._held[record.advert.operator] + added
        return mine <= MAX_DELEGATE_BYTES and by_delegates <= MAX_OPERATOR_BYTES

    def revoke(self, revocation: Revocation, envelope: Envelope) -> list[str]:
        """Take an authentic revocation; the nodes whose adverts were dropped. Raises Refused beyond the bound."""
        self.check_revocation_room(revocation, envelope)
        if self.revoked.issuperset(revocation.delegates):
            return []
        self._revocations = {**self._kept_beside(revocation), envelope.text: (revocation, envelope)}
        self.revoked |= set(revocation.delegates)
        return self._drop_revoked()

    def check_revocation_room(self, revocation: Revocation, envelope: Envelope) -> None:
        kept = self._kept_beside(revocation)
        new = not self.revoked.issuperset(revocation.delegates)
        if new and sum(map(len, kept)) + len(envelope.text) > MAX_REVOCATION_BYTES:
            raise Refused(Reason.TOO_LARGE, "more revocations than are kept; sign one that holds them all")

    def envelopes(self) -> Iterator[Envelope]:
        """All that a restart needs: adverts first, then revocations."""
        for claims in self._claims.values():
            yield from dict.fromkeys(record.envelope for record in claims.records())
        for _, envelope in self._revocations.values():
            yield envelope

    def _kept_beside(self, revocation: Revocation) -> dict[str, tuple[Revocation, Envelope]]:
        """The known revocations that name a delegate which the new one does not."""
        new = set(revocation.delegates)
        return {text: known for text, known in self._revocations.items() if not new.issuperset(known[0].delegates)}

    def _drop_revoked(self) -> list[str]:
        left = {node: claims.without(self.revoked) for node, claims in self._claims.items()}
        changed = [node for node, claims in left.items() if claims is not self._claims[node]]
        for node in changed:
            self._put(node, left[node])
        return changed

    def _forget(self, now: float) -> None:
        """Drop nodes whose adverts ended so long ago that an older one cannot be alive either."""
        for node, claims in list(self._claims.items()):
            if all(record.advert.expires_at + MAX_LIFETIME_S < now for record in claims.records()):
                self._put(node, _NOTHING)

    def _put(self, node: str, claims: Claims) -> None:
        before = self.claims(node)
        self._total += claims.size - before.size
        for signer, size in before.sizes.items():
            self._held[signer] -= size
        for signer, size in claims.sizes.items():
            self._held[signer] += size
        for signer in before.sizes:
            if not self._held[signer]:
                del self._held[signer]
        if claims.best:
            self._claims[node] = claims
        else:
            self._claims.pop(node, None)
