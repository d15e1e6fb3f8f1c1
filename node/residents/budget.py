"""Pure: which models are loaded next, and which must leave memory for them.

The longest waiting request comes first, and nothing takes the room that is being made for it. To make room, models
leave that were not used for longest, idle ones before busy ones; a busy one is left its place for a while, then takes
no new requests, and leaves once it has answered. Not here: loading and unloading (residency), what a model takes
(footprint).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from node.sizes.memory import Memory


class Place(StrEnum):
    """Where a model is. LEAVING answers what it began and takes no more."""

    COLD = "cold"
    LOADING = "loading"
    WARM = "warm"
    LEAVING = "leaving"
    UNLOADING = "unloading"


_ON_THE_WAY_OUT = (Place.LEAVING, Place.UNLOADING)


@dataclass(frozen=True)
class View:
    """One model. Times in seconds of one clock; `wanted_since` None if nobody waits for it.

    `kept` models are always wanted and never leave; a `stuck` one is loading, and has failed to.
    """

    key: int
    need: Memory
    place: Place
    kept: bool
    wanted_since: float | None
    leases: int
    last_used: float
    loaded_at: float
    idle_s: float
    stuck: bool = False

    @property
    def may_leave(self) -> bool:
        return not self.kept and (self.place is Place.WARM or (self.place is Place.LOADING and self.stuck))


@dataclass(frozen=True)
class Plan:
    """Keys, and after how many seconds the plan may be another though nothing has happened."""

    load: tuple[int, ...] = ()
    leave: tuple[int, ...] = ()
    look_again_s: float | None = None


def plan(views: Sequence[View], budget: Memory, now: float, hold_s: float) -> Plan:
    """What is to be done now, so that the sum of needs stays within `budget`."""
    free = budget - _sum(view for view in views if view.place is not Place.COLD)
    later = free + _sum(view for view in views if view.place in _ON_THE_WAY_OUT)
    room = _room(views, budget)
    load: list[int] = []
    leave: list[View] = []
    overdrawn = not Memory().fits(later)  # they take more than they were expected to, or the budget is smaller now
    if overdrawn:
        candidates = _candidates(views, leave, now, hold_s)
        leave += _victims(candidates, Memory() - later) or candidates
        later += _sum(leave)
    for wanted in sorted(filter(_is_wanted, views), key=_turn):
        if not fits(wanted.need, room):
            continue  # who waits after it need not
        if wanted.kept:
            room -= wanted.need
        if fits(wanted.need, free):
            load.append(wanted.key)
        elif not fits(wanted.need, later):
            victims = _victims(_candidates(views, leave, now, hold_s), _lack(wanted.need, later))
            leave += victims
            later += _sum(victims)
        free, later = free - wanted.need, later - wanted.need  # if only to wait for: else many small ones take it
    leave += [view for view in views if view not in leave and _is_over(view, now)]
    pressed = overdrawn or any(map(_is_wanted, views))
    return Plan(tuple(load), tuple(view.key for view in leave), _next_change(views, leave, now, hold_s, pressed))


def room_in_s(views: Sequence[View], key: int, budget: Memory, now: float, hold_s: float, answer_s: float) -> float:
    """Seconds until there may be room for a model that is not loaded, those who wait for longer being served first.

    As far as can be told: who answers is thought to do so for `answer_s` more once it must make room.
    """
    free = budget - _sum(view for view in views if view.place is not Place.COLD)
    staying = [view for view in views if view.place is not Place.COLD and not view.kept]
    ends = [(_gone_in_s(view, now, hold_s, answer_s), view.need) for view in staying]
    (own,) = (view for view in views if view.key == key)
    room, at_s = _room(views, budget), 0.0
    for wanted in (*_before(own, views), own):
        if not fits(wanted.need, room):
            continue
        ends.sort(key=lambda end: end[0], reverse=True)
        while ends and not fits(wanted.need, free):
            end_s, need = ends.pop()
            at_s, free = max(at_s, end_s), free + need
        free -= wanted.need
        ends.append((at_s + hold_s + answer_s, wanted.need))
    return at_s


def fits(need: Memory, room: Memory) -> bool:
    """Whether there is room; of a kind of memory that it does not need there may be less than none."""
    return Memory().fits(Memory() - _lack(need, room))


def _lack(need: Memory, room: Memory) -> Memory:
    return Memory(need.ram and need.ram - room.ram, need.vram and need.vram - room.vram)


def _sum(views: Iterable[View]) -> Memory:
    return sum((view.need for view in views), Memory())


def _room(views: Iterable[View], budget: Memory) -> Memory:
    """What those who never leave have left to others."""
    return budget - _sum(view for view in views if view.kept and view.place is not Place.COLD)


def _is_wanted(view: View) -> bool:
    return view.place is Place.COLD and (view.kept or view.wanted_since is not None)


def _turn(view: View) -> float:
    return float("-inf") if view.kept or view.wanted_since is None else view.wanted_since


def _before(own: View, views: Iterable[View]) -> list[View]:
    """Who is to be loaded before it, in turn."""
    last = own.wanted_since is None and not own.kept
    others = (view for view in views if view.key != own.key and _is_wanted(view))
    return sorted((view for view in others if last or _turn(view) < _turn(own)), key=_turn)


def _gone_in_s(view: View, now: float, hold_s: float, answer_s: float) -> float:
    if view.place is Place.LOADING:
        return hold_s + answer_s
    if view.place is Place.UNLOADING or not view.leases:
        return 0.0
    held_s = max(0.0, view.loaded_at + hold_s - now) if view.place is Place.WARM else 0.0
    return held_s + answer_s


def _candidates(views: Sequence[View], leaving: Sequence[View], now: float, hold_s: float) -> list[View]:
    return [view for view in views if view.may_leave and view not in leaving and _has_had_its_time(view, now, hold_s)]


def _victims(candidates: Sequence[View], lack: Memory) -> list[View]:
    """The fewest that make room for what is lacking, in the order in which they should leave; none if all would not."""
    chosen: list[View] = []
    for view in sorted(candidates, key=lambda view: (view.leases > 0, view.last_used)):
        if lack.fits(_sum(chosen)):
            break
        if _helps(view.need, lack - _sum(chosen)):
            chosen.append(view)
    if not lack.fits(_sum(chosen)):
        return []
    for view in tuple(chosen):  # an early one may not be needed beside a large late one
        rest = [other for other in chosen if other is not view]
        if lack.fits(_sum(rest)):
            chosen = rest
    return chosen


def _helps(need: Memory, lack: Memory) -> bool:
    return (lack.ram > 0 and need.ram > 0) or (lack.vram > 0 and need.vram > 0)


def _has_had_its_time(view: View, now: float, hold_s: float) -> bool:
    return not view.leases or now >= view.loaded_at + hold_s


def _is_over(view: View, now: float) -> bool:
    """It has been idle for long enough."""
    return _may_idle(view) and now >= view.last_used + view.idle_s


def _may_idle(view: View) -> bool:
    return view.may_leave and view.leases == 0


def _next_change(
    views: Sequence[View], leaving: Sequence[View], now: float, hold_s: float, pressed: bool
) -> float | None:
    staying = [view for view in views if view not in leaving]
    ends = [view.last_used + view.idle_s for view in staying if _may_idle(view)]
    if pressed:
        ends += [view.loaded_at + hold_s for view in staying if view.may_leave and view.leases]
    coming = [end - now for end in ends if end > now]
    return min(coming, default=None)
