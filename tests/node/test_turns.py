"""Whose turn it is: fair between callers, whatever they do, and nobody is passed for ever."""

from __future__ import annotations

import itertools
import random

import pytest

from node.turns import Share, Turn, Turns

_TIME = itertools.count()


def turn(who: str | Share, slots: int = 1, promised: float | None = None) -> Turn:
    share = who if isinstance(who, tuple) else (who,)
    return Turn(share, slots, 1.0, float(next(_TIME)), promised)


def asked(turns: Turns, *who: str, slots: int = 1) -> list[Turn]:
    """They come one after another."""
    made = [turn(each, slots) for each in who]
    for each in made:
        if not turns.begin(each):
            turns.wait(each)
            assert turns.next() is None
    return made


def order(turns: Turns, held_s: float = 1.0) -> str:
    """Who is let in, as those that run end one after another."""
    found = []
    while turns.running:
        turns.end(turns.running[0], held_s)
        while (following := turns.next()) is not None:
            found.append(following.share[0])
    return "".join(found)


def test_one_caller_is_served_in_its_order() -> None:
    turns = Turns(1)
    first, *others = asked(turns, *"aaa")
    for each in others:
        turns.end(first, 1.0)
        first = each
        assert turns.next() is each
    turns.end(first, 1.0)
    assert (turns.held, turns.waiting, turns.callers) == (0, (), 0)


def test_with_one_slot_callers_take_turns_however_much_one_asks() -> None:
    turns = Turns(1)
    asked(turns, *"aaaaaaaabcb")
    assert order(turns) == "cbbaaaaaaa"  # where they have had as much, who asks less


def test_who_holds_fewer_slots_goes_first() -> None:
    turns = Turns(4)
    asked(turns, *"aaaa", *"aaaa", "b", "b")
    turns.end(turns.running[0], 1.0)
    following = turns.next()
    assert following is not None and following.share == ("b",)


def test_long_turns_are_counted_by_their_length() -> None:
    turns = Turns(1)
    first = turn("a")
    assert turns.begin(first)
    for who in "aaa" + "bbbbbbbb":
        turns.wait(turn(who))
    served, running = [], first
    for _ in range(11):
        turns.end(running, 10.0 if running.share == ("a",) else 2.0)
        following = turns.next()
        assert following is not None
        running = following
        served.append(running.share[0])
    assert "".join(served) == "bbbbbabbbaa"  # five of two seconds for one of ten
    turns.end(running, 1.0)
    assert turns.callers == 0


def test_who_comes_late_has_no_claim_to_what_others_had_before() -> None:
    turns = Turns(1)
    asked(turns, *"aaaaaa")
    for _ in range(3):
        turns.end(turns.running[0], 100.0)
        assert turns.next() is not None
    asked(turns, *"bbbbb")
    assert order(turns, 100.0) == "bababbb"


def test_many_keys_behind_one_address_share_what_one_address_has() -> None:
    turns = Turns(1)
    for number in range(6):
        each = turn(("1", f"key {number}"))
        if not turns.begin(each):
            turns.wait(each)
    for _ in range(3):
        turns.wait(turn(("2", "")))
    assert order(turns) == "22121111"


def test_a_large_one_is_not_passed_for_ever() -> None:
    turns = Turns(4)
    running = asked(turns, *"abcd")
    large = turn("e", slots=4)
    turns.wait(large)
    assert turns.next() is None
    for number in range(4):
        turns.end(running[number], 1.0)
        if number < 3:
            assert turns.next() is None  # kept for the large one
            assert not turns.begin(turn("f"))
            turns.wait(turn(f"small {number}"))
    assert turns.next() is large
    assert turns.held == 4
    turns.end(large, 1.0)
    assert [turns.next() is None for _ in range(4)] == [False, False, False, True]


def test_what_was_kept_for_one_that_leaves_goes_to_the_next() -> None:
    turns = Turns(2)
    first, _ = asked(turns, "a", "b")
    large, small = turn("c", slots=2), turn("d")
    turns.wait(large)
    turns.wait(small)
    turns.end(first, 1.0)
    assert turns.next() is None
    turns.leave(large)
    assert turns.next() is small


def test_a_promised_turn_goes_first_and_the_earliest_promise_before_that() -> None:
    turns = Turns(1)
    asked(turns, "a", "b")
    late, early = turn("a", promised=7.0), turn("a", promised=3.0)
    turns.wait(late)
    turns.wait(early)
    turns.end(turns.running[0], 1.0)
    assert turns.next() is early
    turns.end(early, 1.0)
    assert turns.next() is late
    assert order(turns) == "b"


@pytest.mark.parametrize(
    ("waiting", "new", "loses"),
    [
        ("aab", "b", "b"),  # a tie: the newest of all
        ("aab", "c", "a1"),
        ("aaab", "b", "a2"),
        ("", "a", "a"),
        ("abc", "d", "d"),
    ],
)
def test_the_caller_with_the_most_waiting_loses_its_newest(waiting: str, new: str, loses: str) -> None:
    turns = Turns(1)
    asked(turns, "x")
    lined = [turn(who) for who in waiting]
    for each in lined:
        turns.wait(each)
    newest = turn(new)
    loser = turns.loser(newest)
    if len(loses) == 1:
        assert loser is newest
    else:
        assert loser is [each for each in lined if each.share == (loses[0],)][int(loses[1])]


def test_who_was_promised_a_turn_does_not_lose_it() -> None:
    turns = Turns(1)
    asked(turns, "x")
    kept = [turn("a", promised=1.0), turn("a", promised=2.0)]
    for each in kept:
        turns.wait(each)
    assert turns.loser(turn("a", promised=3.0)) is None
    newest = turn("b")
    assert turns.loser(newest) is newest


def test_of_an_address_with_many_keys_the_key_with_the_most_waiting_loses() -> None:
    turns = Turns(1)
    asked(turns, "x")
    lined = [turn(("1", "a")), turn(("1", "b")), turn(("1", "b")), turn(("2", "c")), turn(("2", "c"))]
    for each in lined:
        turns.wait(each)
    assert turns.loser(turn(("3", ""))) is lined[2]


@pytest.mark.parametrize("seed", range(20))
def test_nothing_leaks_and_no_slot_idles_whatever_happens(seed: int) -> None:
    chance = random.Random(seed)
    turns = Turns(chance.randint(1, 5))
    for _ in range(400):
        act = chance.random()
        if act < 0.5:
            new = turn(chance.choice("abc"), slots=chance.randint(1, turns.slots))
            if not turns.begin(new):
                turns.wait(new)
        elif act < 0.85 and turns.running:
            turns.end(chance.choice(turns.running), chance.random())
        elif turns.waiting:
            turns.leave(chance.choice(turns.waiting))
        while turns.next() is not None:
            pass
        assert turns.held == sum(each.slots for each in turns.running) <= turns.slots
        if turns.waiting:
            assert turns.held + max(each.slots for each in turns.waiting) > turns.slots
    for each in turns.waiting:
        turns.leave(each)
    for each in turns.running:
        turns.end(each, 1.0)
    assert (turns.held, turns.waiting, turns.running, turns.callers) == (0, (), (), 0)
