"""Pure: compares the hosts of one board. What one shows and another does not, that other withholds, or lags behind.

Nothing counts for being shown or not: this only makes withholding visible. Bounded in memory; one posting costs as much
as its board has hosts. Not here: reading (reader), judging (`registry.trust`).
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import inf

from registry.advert import Reason
from registry.trust import Verdict

__all__ = ["GRACE_S", "Episode", "HostState", "Hosts", "Reading", "Turn"]

GRACE_S = 30.0  # a posting takes a while to reach every host
_KEPT = 200_000  # subjects of one board that are compared; the oldest goes first

Subject = tuple[str, str, str | None]  # kind, operator or curator, node
_UNCOUNTED = (Reason.UNTRUSTED_OPERATOR, Reason.FUTURE, Reason.EXPIRED, Reason.DELEGATION_EXPIRED, Reason.TOO_LARGE)


class Turn(StrEnum):
    """What changed about a host."""

    BEHIND = "behind"
    LEVEL = "level"


@dataclass(frozen=True, slots=True)
class Episode:
    """A host has fallen behind the others of its board, or has caught up."""

    host: int
    turn: Turn
    missing: int
    example: Subject | None = None


@dataclass(frozen=True, slots=True)
class HostState:
    """One host as people see it. `faults`: how many entries it has shown that nobody can have posted so."""

    url: str
    up: bool
    missing: int
    faults: int


@dataclass(frozen=True, slots=True)
class Reading:
    """A host was read wholly, from when to when. `settled`: by the rules in force; what is new it told ever since."""

    began: float
    ended: float
    settled: bool

    def covers(self, now: float) -> float:
        """What other hosts have shown by then, this one has had its time to show: in the reading, or after it."""
        since_read = self.settled and self.ended <= now - GRACE_S
        return (now if since_read else self.began) - GRACE_S


class Hosts:
    """Owner of what each host has shown. Hosts go by their number in `boards`, which names the board of each."""

    def __init__(self, boards: Sequence[str]) -> None:
        several = Counter(boards)
        self._boards = {name: _Board() for name in boards if several[name] > 1}
        self._of = [self._boards.get(name) for name in boards]
        for host, board in enumerate(self._of):
            if board is not None:
                board.behind[host] = {}
        self._episodes: set[int] = set()

    def __repr__(self) -> str:
        return f"Hosts({len(self._of)}, behind={sorted(self._episodes)})"

    def show(self, host: int, verdict: Verdict, now: float) -> None:
        """That host showed a posting, which was judged so."""
        board = self._of[host]
        if board is None or verdict.operator is None or verdict.seq is None:
            return
        subject = (verdict.kind, verdict.operator, verdict.node)
        ends = inf if verdict.expires_at is None else verdict.expires_at
        if verdict.reason in _UNCOUNTED or ends <= now:
            board.level(host, subject, verdict.seq)  # others need not show it, and this one did
        else:
            board.show(host, subject, verdict.seq, ends, now)

    def missing(self, host: int, now: float) -> int:
        """How many current subjects it has not shown at their newest, though another host has for a while."""
        board = self._of[host]
        return 0 if board is None else board.missing(host, now - GRACE_S, now)

    def review(self, readings: Sequence[Reading | None], now: float) -> list[Episode]:
        """The episodes that begin or end now. `readings`: the last of each host, None while it is away or not read."""
        found = []
        for host, (board, reading) in enumerate(zip(self._of, readings, strict=True)):
            if board is None or reading is None:
                continue
            missing = board.missing(host, reading.covers(now), now)
            if missing and host not in self._episodes:
                self._episodes.add(host)
                found.append(Episode(host, Turn.BEHIND, missing, next(iter(board.behind[host]))))
            elif not missing and host in self._episodes:
                self._episodes.remove(host)
                found.append(Episode(host, Turn.LEVEL, 0))
        return found


class _Board:
    """What the hosts of one board have shown: the newest of each subject, and who is behind since when."""

    def __init__(self) -> None:
        self.behind: dict[int, dict[Subject, float]] = {}  # by host; earliest first
        self._newest: dict[Subject, tuple[int, float]] = {}  # seq, and when it ends
        self._ends: list[tuple[float, Subject]] = []

    def show(self, host: int, subject: Subject, seq: int, ends: float, now: float) -> None:
        newest, known_ends = self._newest.get(subject, (-1, 0.0))
        if seq < newest:
            return
        self.behind[host].pop(subject, None)
        if seq == newest:
            return
        self._newest.pop(subject, None)  # to the end: what is renewed is kept longest
        self._newest[subject] = (seq, ends)
        if ends != known_ends and ends != inf:
            heapq.heappush(self._ends, (ends, subject))
        for other, subjects in self.behind.items():
            if other != host:
                subjects.setdefault(subject, now)
        self._tidy(now)

    def level(self, host: int, subject: Subject, seq: int) -> None:
        """This host is not behind with that."""
        if seq >= self._newest.get(subject, (-1, 0.0))[0]:
            self.behind[host].pop(subject, None)

    def missing(self, host: int, until: float, now: float) -> int:
        """How many that another host has shown by `until`."""
        self._tidy(now)
        behind = self.behind[host]
        recent = 0
        for since in reversed(behind.values()):
            if since <= until:
                break
            recent += 1
        return len(behind) - recent

    def _tidy(self, now: float) -> None:
        """What has ended is nobody's loss; beyond the bound the oldest is given up."""
        while self._ends and self._ends[0][0] <= now:
            ends, subject = heapq.heappop(self._ends)
            if self._newest.get(subject, (0, 0.0))[1] == ends:
                self._forget(subject)
        while len(self._newest) > _KEPT:
            self._forget(next(iter(self._newest)))
        if len(self._ends) > 2 * len(self._newest) + 1000:
            self._ends = [(ends, subject) for subject, (_, ends) in self._newest.items() if ends != inf]
            heapq.heapify(self._ends)

    def _forget(self, subject: Subject) -> None:
        self._newest.pop(subject, None)
        for subjects in self.behind.values():
            subjects.pop(subject, None)
