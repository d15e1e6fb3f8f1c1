"""One run of bench.balance_model: people who talk through a gateway's policy with nodes that are arithmetic.

Not here: the policies, and what is made of the outcomes.
"""

from __future__ import annotations

import heapq
import random
import statistics
import zlib
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import NamedTuple

from gateway.balance import Balance
from gateway.groups import Candidate
from relay.call import Call
from relay.endpoints import CHAT
from tests.gateway.adverts import believed, offer

_SYSTEM, _QUESTION, _ANSWER = 250, 60, 32  # tokens
_READ_RATE, _SAY_RATE = 600.0, 40.0  # tokens a second, of one request alone
_SHARING = 0.5  # of its time that each further request beside it costs one
_KEPT_FOR_SLOT = 4  # conversations in a node's cache
_TURNS, _CONVERSATIONS = 6, 4  # that each person has, one after another
_THINK_S = 1.0
_MODEL = "m"
_SAID = b'{"role":"user","content":"%010d %d"},{"role":"assistant","content":"..."},'


class Pace(NamedTuple):
    """A node's slots, and its speed beside others."""

    slots: int
    speed: float


@dataclass(frozen=True)
class Crowd:
    """`people` who talk at once, each turn with any of `workers`, which know nothing of each other. `alike`: all of
    them begin with the same words."""

    paces: Sequence[Pace]
    people: int
    workers: int = 1
    alike: bool = False


class Outcome(NamedTuple):
    """`cached`: the share of the prompts' tokens that was in a cache."""

    mean_s: float
    p99_s: float
    cached: float
    seconds: float


class _Asked(NamedTuple):
    at: float
    person: tuple[int, int]  # and which of their conversations
    turn: int
    balance: Balance
    candidate: Candidate


@dataclass
class _Node:
    pace: Pace
    running: int = 0
    waiting: deque[_Asked] = field(default_factory=deque)
    cache: OrderedDict[tuple[int, int], int] = field(default_factory=OrderedDict)

    def read(self, person: tuple[int, int], tokens: int) -> int:
        """How many of them it has to read; a system prompt is anybody's."""
        had = self.cache.pop(person, _SYSTEM if self.cache else 0)
        self.cache[person] = tokens + _ANSWER
        if len(self.cache) > self.pace.slots * _KEPT_FOR_SLOT:
            self.cache.popitem(last=False)
        return tokens - had


def run(crowd: Crowd, make: Callable[[Callable[[], float]], Balance], seed: int) -> Outcome:
    """All that everybody says. `make` is given the clock of the model."""
    return _Run(crowd, make, seed).outcome()


class _Run:
    def __init__(self, crowd: Crowd, make: Callable[[Callable[[], float]], Balance], seed: int) -> None:
        self._crowd, self._seed, self._chance = crowd, seed, random.Random(seed)
        self._now, self._numbers = 0.0, count()
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        offers = [offer(_MODEL, parallel=pace.slots) for pace in crowd.paces]
        self._candidates = [Candidate(believed("op", f"{n}", one), one) for n, one in enumerate(offers)]
        self._nodes = {c.node: _Node(pace) for c, pace in zip(self._candidates, crowd.paces, strict=True)}
        self._balances = [make(lambda: self._now) for _ in range(crowd.workers)]
        self._first: list[float] = []
        self._tokens = self._read = 0
        for person in range(crowd.people):
            self._think((person, 0), 0)

    def outcome(self) -> Outcome:
        while self._due:
            self._now, _, act = heapq.heappop(self._due)
            act()
        assert not any(balance.in_flight for balance in self._balances)
        first = sorted(self._first)
        p99_s = first[int(0.99 * (len(first) - 1))]
        return Outcome(statistics.mean(first), p99_s, 1 - self._read / self._tokens, self._now)

    def _later(self, span_s: float, act: Callable[[], None]) -> None:
        heapq.heappush(self._due, (self._now + span_s, next(self._numbers), act))

    def _think(self, person: tuple[int, int], turn: int) -> None:
        self._later(self._chance.expovariate(1 / _THINK_S), lambda: self._ask(person, turn))

    def _ask(self, person: tuple[int, int], turn: int) -> None:
        balance = self._chance.choice(self._balances)
        topic = balance.topic_of(Call(CHAT, _MODEL, True, "id", body=self._body(person, turn)))
        candidate = balance.order(self._candidates, self._now, topic=topic)[0]
        balance.begin(candidate.node, _MODEL, topic)
        node = self._nodes[candidate.node]
        node.waiting.append(_Asked(self._now, person, turn, balance, candidate))
        self._go_on(node)

    def _go_on(self, node: _Node) -> None:
        while node.waiting and node.running < node.pace.slots:
            asked = node.waiting.popleft()
            slowness = (1 + _SHARING * node.running) / node.pace.speed
            node.running += 1
            tokens = _SYSTEM + asked.turn * (_QUESTION + _ANSWER) + _QUESTION
            read = node.read(asked.person, tokens)
            self._tokens, self._read = self._tokens + tokens, self._read + read
            first_s = read / _READ_RATE * slowness
            self._first.append(self._now + first_s - asked.at)
            said_s = max(4.0, self._chance.expovariate(1 / _ANSWER)) / _SAY_RATE * slowness
            self._later(first_s + said_s, lambda asked=asked: self._end(node, asked))  # type: ignore[misc]

    def _end(self, node: _Node, asked: _Asked) -> None:
        node.running -= 1
        asked.balance.end(asked.candidate.node, _MODEL)
        asked.balance.answered(asked.candidate, self._now)
        self._go_on(node)
        person, number = asked.person
        if asked.turn + 1 < _TURNS:
            self._think(asked.person, asked.turn + 1)
        elif number + 1 < _CONVERSATIONS:
            self._think((person, number + 1), 0)

    def _body(self, person: tuple[int, int], turn: int) -> bytes:
        """As an SDK would write it, as far as a topic is read from it."""
        who = zlib.crc32(b"%d %d %d" % (self._seed, *person))
        said = [_SAID % (0 if self._crowd.alike and not number else who, number) for number in range(turn + 1)]
        return b'{"messages":[{"role":"system","content":"%b"},%b' % (b"s" * 4 * _SYSTEM, b"".join(said))
