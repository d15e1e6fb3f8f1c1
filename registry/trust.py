"""Whose adverts count: operators, curators, delegation, revocation, replay, equivocation.

Pure: takes `now` (Unix seconds), does no I/O, asks no clock. Postings may come in any order, any number of times.
Not here: signatures (signing), periods (periods), challenges and DNS (gateway), routing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from registry.advert import MAX_AHEAD_S, Advert, Envelope, Kind, Reason, Refused, Revocation
from registry.advert import Curation as CurationText
from registry.claims import Record
from registry.curations import Curation, Curations
from registry.ledger import Ledger
from registry.periods import check_advert, check_delegation, check_not_future
from registry.policy import Policy
from registry.signing import Opened, open_envelope
from registry.urls import check_site, parse_url
from registry.verdict import Believed, Verdict

__all__ = ["Believed", "Curation", "Policy", "Trust", "Verdict"]

_ALWAYS = float("inf")


class Trust:
    """One reader's state: what its policy and all the postings so far amount to.

    `policy_version` changes when postings that were refused before may count now (a curator named more operators or
    nodes, a revocation dropped adverts): a reader that holds only the new postings should fetch all of them again.
    """

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.policy_version = 0
        self._ledgers: dict[str, Ledger] = {}
        self._curations = Curations(policy.curators)

    def __repr__(self) -> str:
        nodes = sum(len(ledger.nodes) for ledger in self._ledgers.values())
        return f"Trust(operators={len(self._ledgers)}, nodes={nodes}, {self._curations!r})"

    def consider(self, raw: str, now: float) -> Verdict:
        """Take one posting, whatever it is, and judge it."""
        return self._examine(raw, now, learn=True)

    def judge(self, raw: str, now: float) -> Verdict:
        """The judgement on a posting by all that is known by now; changes nothing."""
        return self._examine(raw, now, learn=False)

    def believed(self, now: float) -> list[Believed]:
        """The adverts that count now, tombstones left out."""
        found = []
        for ledger in self._ledgers.values():
            for claims in ledger.nodes.values():
                winner = claims.winner()
                if winner is None or winner.advert.is_tombstone or not self._stands(winner, now):
                    continue
                until, explicit = self._trusted(winner.advert.operator, winner.advert.node, now)
                if until > now:
                    ends = min(winner.valid_until, until)
                    found.append(Believed(winner.advert, winner.envelope, ends, explicit))
        return found

    def curation(self, now: float) -> Curation:
        """What the curators in force say together."""
        return self._curations.merged(now)

    def snapshot(self, now: float) -> list[dict[str, Any]]:
        """The signed envelopes from which `restore` rebuilds floors, revocations, lists and proofs, at any time."""
        envelopes = [*self._curations.envelopes()]
        for ledger in self._ledgers.values():
            envelopes.extend(ledger.envelopes())
        return [envelope.to_dict() for envelope in envelopes]

    def restore(self, postings: list[dict[str, Any]], now: float) -> None:
        """Take up a snapshot. Every signature is verified again; what does not hold is left out."""
        opened = list(_open_all(postings))
        for kind in (Kind.CURATION, Kind.ADVERT, Kind.REVOCATION):
            for posting in opened:
                if posting.envelope.kind is kind:
                    self._take(posting, now, restoring=True)

    def _examine(self, raw: str, now: float, learn: bool) -> Verdict:
        kind = ""
        try:
            envelope = Envelope.parse(raw)
            kind = envelope.kind.value
            opened = open_envelope(envelope)
        except Refused as refused:
            return Verdict(kind, None, None, None, False, refused.reason, refused.detail)
        if learn:
            self._take(opened, now, restoring=False)
        return self._verdict(opened, now)

    def _take(self, opened: Opened, now: float, restoring: bool) -> None:
        """Let an authentic posting change the state, if it may."""
        content = opened.content
        try:
            if isinstance(content, Advert):
                self._take_advert(opened, content, now, restoring)
            elif isinstance(content, Revocation):
                self._take_revocation(content, opened.envelope)
            else:
                self._take_curation(content, opened.envelope, now)
        except Refused:
            return  # the verdict, made next from the state, names the same reason

    def _take_advert(self, opened: Opened, advert: Advert, now: float, restoring: bool) -> None:
        trusted = self._trusted(advert.operator, advert.node, now)[0] > now
        if not trusted and not (restoring and self._curations.remembers(advert.operator, advert.node)):
            return
        self._check_signer(opened, advert, now, restoring)
        check_not_future(advert, now)
        if advert.operator not in self._ledgers:
            self._ledgers[advert.operator] = Ledger()
            if not self._remembers_operator(advert.operator):
                self.policy_version += 1  # trusted for a node's sake: its revocations were passed over so far
        self._ledgers[advert.operator].add(self._record(opened, advert, now, restoring), now)

    def _take_revocation(self, revocation: Revocation, envelope: Envelope) -> None:
        if revocation.operator not in self._ledgers:
            if not self._remembers_operator(revocation.operator):
                return
            self._ledgers[revocation.operator] = Ledger()
        if self._ledgers[revocation.operator].revoke(revocation, envelope):
            self.policy_version += 1

    def _take_curation(self, curation: CurationText, envelope: Envelope, now: float) -> None:
        if curation.curator not in self.policy.curators:
            return
        check_not_future(curation, now)
        before = self._curations.merged(now)
        self._curations.add(curation, envelope)
        after = self._curations.merged(now)
        if not (after.operators <= before.operators and after.nodes <= before.nodes):
            self.policy_version += 1

    def _verdict(self, opened: Opened, now: float) -> Verdict:
        content, kind = opened.content, opened.envelope.kind.value
        operator = content.curator if isinstance(content, CurationText) else content.operator
        node = content.node if isinstance(content, Advert) else None
        try:
            if isinstance(content, Advert):
                self._check_advert(opened, content, now)
            elif isinstance(content, Revocation):
                self._check_revocation(content, opened.envelope)
            else:
                self._curations.check(content, opened.envelope, now)
        except Refused as refused:
            return Verdict(kind, operator, node, content.seq, False, refused.reason, refused.detail)
        return Verdict(kind, operator, node, content.seq, True, None, "")

    def _check_advert(self, opened: Opened, advert: Advert, now: float) -> None:
        if self._trusted(advert.operator, advert.node, now)[0] <= now:
            raise Refused(Reason.UNTRUSTED_OPERATOR, f"{advert.operator} is not covered by --trust")
        self._check_signer(opened, advert, now, restoring=False)
        ledger = self._ledger(advert.operator)
        claims = ledger.claims(advert.node)
        record = self._record(opened, advert, now, restoring=False)
        if claims.proves(record):
            raise Refused(Reason.EQUIVOCATION, f"two adverts of this node have seq {advert.seq}")
        check_advert(advert, now)
        claims.check(record)
        check_site(parse_url(advert.url), self.policy.allow_private)
        ledger.check_room(record)

    def _check_revocation(self, revocation: Revocation, envelope: Envelope) -> None:
        ledger = self._ledgers.get(revocation.operator)
        if ledger is not None:
            ledger.check_revocation_room(revocation, envelope)
        elif not self._remembers_operator(revocation.operator):
            raise Refused(Reason.UNTRUSTED_OPERATOR, f"{revocation.operator} is not covered by --trust")

    def _check_signer(self, opened: Opened, advert: Advert, now: float, restoring: bool) -> None:
        """Raise Refused if the delegation does not hold now, or its delegate is revoked."""
        delegation = opened.delegation
        if delegation is None:
            return
        moment = now
        if restoring and advert.seq <= (delegation.expires_at + MAX_AHEAD_S) * 1000:
            # A floor set while the delegation was valid stays. Its seq lies below every honest later one, so even a
            # forged snapshot could not use an expired delegation to bar anything.
            moment = min(now, delegation.expires_at - 1)
        check_delegation(delegation, moment)
        if opened.signer in self._ledger(advert.operator).revoked:
            raise Refused(Reason.REVOKED, f"the operator has revoked {opened.signer}")

    def _ledger(self, operator: str) -> Ledger:
        """What is known of an operator, to read."""
        return self._ledgers.get(operator) or Ledger()

    def _record(self, opened: Opened, advert: Advert, now: float, restoring: bool) -> Record:
        """`sound` is what was true when the advert first came: a restart must not forget a proof for its age."""
        moment = min(now, advert.expires_at - 1) if restoring else now
        sound = self._holds(advert, moment)
        return Record(advert, opened.envelope, opened.signer, opened.delegation, sound)

    def _stands(self, record: Record, now: float) -> bool:
        """Does the highest advert of a node count by itself?"""
        return record.valid_until > now and self._holds(record.advert, now)

    def _holds(self, advert: Advert, now: float) -> bool:
        try:
            check_advert(advert, now)
            check_site(parse_url(advert.url), self.policy.allow_private)
        except Refused:
            return False
        return True

    def _trusted(self, operator: str, node: str, now: float) -> tuple[float, bool]:
        """Until when this reader trusts the two, and whether because somebody named them."""
        if operator in self.policy.operators:
            return _ALWAYS, True
        vouched_until = self._curations.vouched_until(operator, node, now)
        if self.policy.any_operator:
            return _ALWAYS, vouched_until is not None
        return (0.0, False) if vouched_until is None else (vouched_until, True)

    def _remembers_operator(self, operator: str) -> bool:
        named = self.policy.any_operator or operator in self.policy.operators
        return named or self._curations.remembers(operator, "")


def _open_all(postings: Iterable[Mapping[str, Any]]) -> Iterable[Opened]:
    for posting in postings:
        try:
            yield open_envelope(Envelope.parse(orjson.dumps(posting)))
        except (Refused, orjson.JSONEncodeError):
            continue
