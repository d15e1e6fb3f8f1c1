"""Whose adverts count: operators, curators, delegation, revocation, replay, equivocation.

Pure: takes `now` (Unix seconds), does no I/O, asks no clock. Postings may come in any order, any number of times.
Not here: signatures (signing), what holds of one advert by itself (soundness), challenges and DNS (gateway), routing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import orjson

from registry.advert import Advert, Envelope, Kind, Reason, Refused, Revocation
from registry.advert import Curation as CurationText
from registry.changes import Changes
from registry.claims import Claims
from registry.curations import Curation, Curations
from registry.ledger import Ledger
from registry.memo import Memo, kind_of
from registry.periods import check_advert, check_not_future
from registry.policy import Policy
from registry.signing import Opened, open_envelope
from registry.soundness import Soundness
from registry.standing import Standing
from registry.verdict import Believed, Change, Key, Verdict

__all__ = ["Believed", "Change", "Curation", "Key", "Policy", "Trust", "Verdict"]

_UNKNOWN = Ledger()


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
        self._standing = Standing(policy, self._curations)
        self._soundness = Soundness(policy.allow_private)
        self._memo = Memo()
        self._changes = Changes()

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
        keys = ((operator, node) for operator, ledger in self._ledgers.items() for node in ledger.nodes)
        return [believed for key in keys if (believed := self._believed(key, now)) is not None]

    def changes(self, now: float) -> Iterator[Change]:
        """What may have changed since it was last told, each node once. It costs what it tells, and may be left early.

        Of another `curation(now)` it tells only whom that drops: when that is a new object, ask `afresh`.
        """
        while (key := self._changes.take(now)) is not None:
            yield self._change(key, now)

    def afresh(self, now: float) -> Iterator[Change]:
        """Every node of which something is believed, whatever was told before. What changes meanwhile is a change."""
        self._changes.clear()
        for operator, ledger in list(self._ledgers.items()):
            for node in list(ledger.nodes):
                change = self._change((operator, node), now)
                if change.believed is not None:
                    yield change

    def curation(self, now: float) -> Curation:
        """What the curators in force say together: the same object for as long as that is so."""
        return self._curations.merged(now)

    def snapshot(self, now: float) -> list[dict[str, Any]]:
        """The signed envelopes from which `restore` rebuilds floors, revocations, lists and proofs, at any time."""
        return [envelope.to_dict() for envelopes in self.envelopes() for envelope in envelopes]

    def envelopes(self) -> Iterator[list[Envelope]]:
        """The same in pieces, each whole in itself: postings may be considered between them."""
        yield list(self._curations.envelopes())
        for ledger in list(self._ledgers.values()):
            yield list(ledger.envelopes())

    def restore(self, postings: list[dict[str, Any]], now: float) -> None:
        """Take up a snapshot. Every signature is verified again; what does not hold is left out."""
        for _ in self.restoring(postings, now):
            pass

    def restoring(self, postings: list[dict[str, Any]], now: float) -> Iterator[None]:
        """The same step by step."""
        opened: list[Opened] = []
        for posting in postings:
            opened += _open(posting)
            yield
        for kind in (Kind.CURATION, Kind.ADVERT, Kind.REVOCATION):
            for one in opened:
                if one.envelope.kind is kind:
                    self._take(one, now, restoring=True)
                    yield

    def _change(self, key: Key, now: float) -> Change:
        believed = self._believed(key, now)
        self._changes.ends(key, None if believed is None else believed.valid_until)
        return Change(key, believed)

    def _believed(self, key: Key, now: float) -> Believed | None:
        winner = self._ledger(key[0]).claims(key[1]).winner()
        if winner is None or winner.advert.is_tombstone or not self._soundness.stands(winner, now):
            return None
        until, explicit = self._standing.trusted(*key, now)
        if until <= now:
            return None
        return Believed(winner.advert, winner.envelope, min(winner.valid_until, until), explicit)

    def _examine(self, raw: str, now: float, learn: bool) -> Verdict:
        try:
            opened = self._memo.open(raw)
        except Refused as refused:
            return Verdict(kind_of(raw), None, None, None, False, refused.reason, refused.detail)
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
        if self._claims(advert).held(opened) is not None:
            return
        trusted = self._standing.trusted(advert.operator, advert.node, now)[0] > now
        if not trusted and not (restoring and self._curations.remembers(advert.operator, advert.node)):
            return
        self._soundness.check_signer(opened, advert, self._ledger(advert.operator).revoked, now, restoring)
        check_not_future(advert, now)
        if advert.operator not in self._ledgers:
            self._ledgers[advert.operator] = Ledger()
            if not self._standing.remembers_operator(advert.operator):
                self.policy_version += 1  # trusted for a node's sake: its revocations were passed over so far
        if self._ledgers[advert.operator].add(self._soundness.record(opened, advert, now, restoring), now):
            self._changes.mark((advert.operator, advert.node))

    def _take_revocation(self, revocation: Revocation, envelope: Envelope) -> None:
        if revocation.operator not in self._ledgers:
            if not self._standing.remembers_operator(revocation.operator):
                return
            self._ledgers[revocation.operator] = Ledger()
        dropped = self._ledgers[revocation.operator].revoke(revocation, envelope)
        for node in dropped:
            self._changes.mark((revocation.operator, node))
        if dropped:
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
        self._mark_dropped(before, after)

    def _mark_dropped(self, before: Curation, after: Curation) -> None:
        """Whom curators no longer name is a change at once: all else can wait until everything is told afresh."""
        for operator in before.operators - after.operators:
            for node in self._ledger(operator).nodes:
                self._changes.mark((operator, node))
        if nodes := before.nodes - after.nodes:
            for operator, ledger in self._ledgers.items():
                for node in ledger.nodes.keys() & nodes:
                    self._changes.mark((operator, node))

    def _verdict(self, opened: Opened, now: float) -> Verdict:
        content, kind = opened.content, opened.envelope.kind.value
        operator = content.curator if isinstance(content, CurationText) else content.operator
        node = content.node if isinstance(content, Advert) else None
        ends = None if isinstance(content, Revocation) else content.expires_at
        try:
            if isinstance(content, Advert):
                self._check_advert(opened, content, now)
            elif isinstance(content, Revocation):
                self._check_revocation(content, opened.envelope)
            else:
                self._curations.check(content, opened.envelope, now)
        except Refused as refused:
            return Verdict(kind, operator, node, content.seq, False, refused.reason, refused.detail, ends)
        return Verdict(kind, operator, node, content.seq, True, None, "", ends)

    def _check_advert(self, opened: Opened, advert: Advert, now: float) -> None:
        if self._standing.trusted(advert.operator, advert.node, now)[0] <= now:
            raise Refused(Reason.UNTRUSTED_OPERATOR, f"{advert.operator} is not covered by --trust")
        self._soundness.check_signer(opened, advert, self._ledger(advert.operator).revoked, now)
        claims = self._claims(advert)
        held = claims.held(opened)
        record = held or self._soundness.record(opened, advert, now)
        if claims.proves(record):
            raise Refused(Reason.EQUIVOCATION, f"two adverts of this node have seq {advert.seq}")
        check_advert(advert, now)
        claims.check(record)
        if held is None:  # else it was sound when it came, and there was room
            self._soundness.check_site(advert)
            self._ledger(advert.operator).check_room(record)

    def _check_revocation(self, revocation: Revocation, envelope: Envelope) -> None:
        ledger = self._ledgers.get(revocation.operator)
        if ledger is not None:
            ledger.check_revocation_room(revocation, envelope)
        elif not self._standing.remembers_operator(revocation.operator):
            raise Refused(Reason.UNTRUSTED_OPERATOR, f"{revocation.operator} is not covered by --trust")

    def _ledger(self, operator: str) -> Ledger:
        """What is known of an operator, to read."""
        return self._ledgers.get(operator) or _UNKNOWN

    def _claims(self, advert: Advert) -> Claims:
        return self._ledger(advert.operator).claims(advert.node)


def _open(posting: Mapping[str, Any]) -> Iterable[Opened]:
    try:
        return (open_envelope(Envelope.parse(orjson.dumps(posting))),)
    except (Refused, orjson.JSONEncodeError):
        return ()
