"""Whose turn it is for an engine's slots: fair between callers, and nobody is passed for ever. Pure.

The next turn is that of the caller who holds the fewest slots of this engine; then of who has had the least of it since
both are here, in slot-seconds; then of who has fewer waiting; then of who came first. A turn that takes several slots
is passed by nobody once it is elected: what is given back is kept for it. A turn that was promised goes first.

A share says who counts as one caller. It may have parts: those of one address, say, share that address's share. Not
here: who waits how long (seats), what is promised (promises), and when it may be one's turn (estimate).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

Share = tuple[str, ...]


@dataclass(eq=False)
class Turn:
    """One request's: the slots that it takes, and how many times as long as others of its kind it holds them.

    `promised` is when it was promised to be let in, on the clock of `since`; `began` is when it was.
    """

    share: Share
    slots: int
    work: float
    since: float
    promised: float | None = None
    began: float = 0.0


@dataclass
class _Account:
    """Of one share, or of all that begin alike. `used` are slot-seconds, from where others stood when it came."""

    used: float
    held: int = 0
    waiting: int = 0


class Turns:
    """Of one engine with `slots`. Who holds nothing and waits for nothing is forgotten."""

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self.held = 0
        self._running: dict[Turn, None] = {}
        self._waiting: dict[Turn, None] = {}  # in the order in which they came
        self._elected: Turn | None = None  # slots are kept for it
        self._accounts: dict[Share, _Account] = {}

    def __repr__(self) -> str:
        return f"<Turns {self.held}/{self.slots}+{len(self._waiting)} callers={len(self._accounts)}>"

    @property
    def running(self) -> tuple[Turn, ...]:
        return tuple(self._running)

    @property
    def waiting(self) -> tuple[Turn, ...]:
        """In the order in which they came."""
        return tuple(self._waiting)

    @property
    def callers(self) -> int:
        """Of whom something is known."""
        return len(self._accounts)

    def begin(self, turn: Turn) -> bool:
        """Let it in at once, if nobody waits and there is room."""
        if self._waiting or turn.slots > self.slots - self.held:
            return False
        self._open(turn)
        self._take(turn)
        return True

    def wait(self, turn: Turn) -> None:
        """It stands in line from now on."""
        self._open(turn)
        self._waiting[turn] = None
        for account in self._accounts_of(turn):
            account.waiting += 1

    def next(self) -> Turn | None:
        """Let in whose turn it is; None where nobody waits, or too few slots are free."""
        if self._elected is None and self._waiting and self.held < self.slots:
            self._elected = min(self._waiting, key=self._rank)
        turn = self._elected
        if turn is None or turn.slots > self.slots - self.held:
            return None
        self._remove(turn)
        self._take(turn)
        return turn

    def leave(self, turn: Turn) -> None:
        """It waits no more."""
        self._remove(turn)
        self._close(turn.share)

    def end(self, turn: Turn, held_s: float) -> None:
        """It gives its slots back."""
        del self._running[turn]
        self.held -= turn.slots
        for account in self._accounts_of(turn):
            account.held -= turn.slots
            account.used += turn.slots * held_s
        self._close(turn.share)

    def loser(self, turn: Turn) -> Turn | None:
        """Who gives way where there is room for all that wait, but for this new one: the newest of those with the most
        waiting, itself counted. None if all were promised their turn."""
        candidates = [each for each in (*self._waiting, turn) if each.promised is None]
        return max(reversed(candidates), key=lambda each: self._crowd(each, turn), default=None)

    def _rank(self, turn: Turn) -> tuple[object, ...]:
        """The least is next. `min` takes the one that came first of several."""
        if turn.promised is not None:
            return 0, turn.promised
        return 1, tuple((account.held, account.used, account.waiting) for account in self._accounts_of(turn))

    def _crowd(self, turn: Turn, new: Turn) -> tuple[int, ...]:
        """How many wait of all that begin as its share does."""
        counts = []
        for share in _parts(turn.share):
            known = self._accounts.get(share)
            counts.append((known.waiting if known else 0) + (new.share[: len(share)] == share))
        return tuple(counts)

    def _take(self, turn: Turn) -> None:
        self._running[turn] = None
        self.held += turn.slots
        for account in self._accounts_of(turn):
            account.held += turn.slots

    def _remove(self, turn: Turn) -> None:
        del self._waiting[turn]
        for account in self._accounts_of(turn):
            account.waiting -= 1
        if self._elected is turn:
            self._elected = None

    def _open(self, turn: Turn) -> None:
        """Who is new here begins where the one stands who has had the least."""
        for share in _parts(turn.share):
            if share not in self._accounts:
                self._accounts[share] = _Account(min(self._used_beside(share), default=0.0))

    def _used_beside(self, share: Share) -> Iterator[float]:
        for other, account in self._accounts.items():
            if len(other) == len(share) and other[:-1] == share[:-1]:
                yield account.used

    def _close(self, share: Share) -> None:
        for part in _parts(share):
            account = self._accounts[part]
            if not account.held and not account.waiting:
                del self._accounts[part]

    def _accounts_of(self, turn: Turn) -> Iterator[_Account]:
        return (self._accounts[share] for share in _parts(turn.share))


def _parts(share: Share) -> Iterator[Share]:
    """From the outermost: an address, then who calls from it."""
    return (share[:length] for length in range(1, len(share) + 1))
