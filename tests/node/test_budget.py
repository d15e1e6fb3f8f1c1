"""Who is loaded and who leaves: a pure plan, held to its rules over made-up nodes."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from node.residents.budget import Place, Plan, View, plan, room_in_s
from node.sizes.memory import Memory

BUDGET = Memory(ram=100)
IN_MEMORY = (Place.LOADING, Place.WARM, Place.LEAVING, Place.UNLOADING)


def view(key: int, place: Place = Place.COLD, need: int = 40, **more: object) -> View:
    made = View(
        key=key, need=Memory(ram=need), place=place, kept=False, wanted_since=None, leases=0, last_used=0.0,
        loaded_at=0.0, idle_s=1000.0,
    )  # fmt: skip
    return replace(made, **more)  # type: ignore[arg-type]


def planned(*views: View, now: float = 100.0, hold_s: float = 10.0, budget: Memory = BUDGET) -> Plan:
    return plan(views, budget, now, hold_s)


def test_a_wanted_model_is_loaded_where_there_is_room() -> None:
    assert planned(view(1), view(2, wanted_since=5.0)).load == (2,)
    assert planned(view(1, Place.WARM), view(2, wanted_since=5.0)).load == (2,)


def test_the_least_recently_used_leaves_and_the_load_waits_for_it() -> None:
    made = planned(view(1, Place.WARM, last_used=50.0), view(2, Place.WARM, last_used=20.0), view(3, wanted_since=5.0))
    assert (made.load, made.leave) == ((), (2,))
    assert planned(view(1, Place.WARM), view(2, Place.UNLOADING), view(3, wanted_since=5.0)) == Plan(look_again_s=900.0)


def test_an_idle_one_leaves_before_a_busy_one_that_is_older() -> None:
    busy, idle = view(1, Place.WARM, last_used=1.0, leases=2), view(2, Place.WARM, last_used=99.0)
    assert planned(busy, idle, view(3, wanted_since=5.0)).leave == (2,)


def test_a_busy_one_is_left_its_place_for_a_while_and_then_makes_room() -> None:
    busy = [view(1, Place.WARM, leases=1, loaded_at=95.0), view(2, Place.WARM, leases=1, loaded_at=97.0)]
    made = planned(*busy, view(3, wanted_since=5.0))
    assert made.leave == () and made.look_again_s == 5.0
    assert planned(*busy, view(3, wanted_since=5.0), now=105.0).leave == (1,)


def test_kept_models_never_leave_and_come_first() -> None:
    kept = [view(1, Place.WARM, kept=True), view(2, Place.WARM, kept=True)]
    assert planned(*kept, view(3, wanted_since=5.0)).leave == ()
    assert planned(view(1, need=80, kept=True), view(2, need=80, wanted_since=0.0)).load == (1,)


def test_room_that_is_made_for_one_is_not_taken_by_another() -> None:
    """The large one has waited for longest; a small one that comes later would fit at once, again and again."""
    made = planned(
        view(1, Place.WARM, need=50, leases=1, loaded_at=0.0), view(2, need=90, wanted_since=1.0),
        view(3, need=30, wanted_since=2.0),
    )  # fmt: skip
    assert (made.load, made.leave) == ((), (1,))


def test_one_that_can_never_fit_keeps_nobody_waiting() -> None:
    made = planned(view(1, Place.WARM), view(2, need=500, wanted_since=1.0), view(3, wanted_since=2.0))
    assert (made.load, made.leave) == ((3,), ())


def test_no_more_leave_than_must() -> None:
    small, large = view(1, Place.WARM, need=10, last_used=1.0), view(2, Place.WARM, need=80, last_used=2.0)
    assert planned(small, large, view(3, need=60, wanted_since=5.0)).leave == (2,)


def test_gpu_memory_is_made_by_who_has_some() -> None:
    budget = Memory(ram=100, vram=100)
    on_cpu = view(1, Place.WARM, last_used=1.0)
    on_gpu = replace(view(2, Place.WARM, last_used=2.0), need=Memory(ram=1, vram=90))
    wanted = replace(view(3, wanted_since=5.0), need=Memory(ram=1, vram=50))
    assert planned(on_cpu, on_gpu, wanted, budget=budget).leave == (2,)


def test_an_idle_model_leaves_after_its_time_and_a_busy_or_kept_one_does_not() -> None:
    assert planned(view(1, Place.WARM, idle_s=30.0, last_used=80.0)) == Plan(look_again_s=10.0)
    assert planned(view(1, Place.WARM, idle_s=30.0, last_used=70.0)).leave == (1,)
    assert planned(view(1, Place.WARM, idle_s=30.0, leases=1)).leave == ()
    assert planned(view(1, Place.WARM, idle_s=30.0, kept=True)).leave == ()


def test_one_that_does_not_come_up_may_leave_while_it_is_loading() -> None:
    assert planned(view(1, Place.LOADING, need=80), view(2, wanted_since=5.0)).leave == ()
    assert planned(view(1, Place.LOADING, need=80, stuck=True), view(2, wanted_since=5.0)).leave == (1,)


def test_models_that_took_more_than_was_thought_make_room() -> None:
    made = planned(view(1, Place.WARM, need=70, last_used=2.0), view(2, Place.WARM, need=70, last_used=1.0))
    assert made.leave == (2,)


VIEWS = st.lists(
    st.builds(
        View,
        key=st.just(0),
        need=st.builds(Memory, ram=st.integers(1, 120), vram=st.integers(0, 60)),
        place=st.sampled_from(Place),
        kept=st.booleans(),
        wanted_since=st.none() | st.floats(0, 100),
        leases=st.integers(0, 2),
        last_used=st.floats(0, 100),
        loaded_at=st.floats(0, 100),
        idle_s=st.floats(0, 200),
        stuck=st.booleans(),
    ),
    max_size=8,
).map(lambda views: [replace(view, key=key) for key, view in enumerate(views)])


@given(VIEWS, st.floats(100, 300), st.floats(0, 60))
def test_whatever_stands_the_plan_holds_the_rules(views: list[View], now: float, hold_s: float) -> None:
    budget = Memory(ram=150, vram=60)
    made = plan(views, budget, now, hold_s)
    by_key = {one.key: one for one in views}
    before = sum((one.need for one in views if one.place in IN_MEMORY), Memory())
    after = before + sum((by_key[key].need for key in made.load), Memory())
    loaded = after - before
    assert not loaded.ram or after.ram <= budget.ram
    assert not loaded.vram or after.vram <= budget.vram
    assert all(by_key[key].place is Place.COLD for key in made.load)
    assert all(by_key[key].kept or by_key[key].wanted_since is not None for key in made.load)
    assert all(by_key[key].may_leave for key in made.leave)
    assert len(set(made.leave)) == len(made.leave)
    assert made.look_again_s is None or made.look_again_s > 0


def test_small_ones_that_come_again_and_again_do_not_keep_a_large_one_out() -> None:
    """The large one cannot have its room yet; whatever is loaded now would be left its place for a while again."""
    busy = view(1, Place.WARM, need=40, leases=1, loaded_at=95.0)
    made = planned(busy, view(2, need=80, wanted_since=1.0), view(3, need=30, wanted_since=2.0))
    assert (made.load, made.leave, made.look_again_s) == ((), (), 5.0)
    assert planned(replace(busy, kept=True), view(2, need=80, wanted_since=1.0), view(3, wanted_since=2.0)).load == (3,)


def test_kept_models_that_do_not_fit_together_are_loaded_as_far_as_they_do() -> None:
    made = planned(view(1, Place.WARM, kept=True), view(2, need=70, kept=True), view(3, need=50, kept=True))
    assert (made.load, made.leave) == ((3,), ())


def test_of_memory_that_it_does_not_need_there_may_be_less_than_none() -> None:
    """A model for the CPU, an engine that runs elsewhere: what others overdraw is nothing to them."""
    over = replace(view(1, Place.WARM, kept=True), need=Memory(ram=10, vram=20))
    assert planned(over, view(2, wanted_since=1.0)).load == (2,)
    assert planned(view(1, Place.WARM, need=120, kept=True), view(2, need=0, kept=True)).load == (2,)


def test_who_cannot_make_up_for_too_much_memory_alone_leaves_all_the_same() -> None:
    made = planned(view(1, Place.WARM, need=130, kept=True), view(2, Place.WARM, need=10))
    assert made.leave == (2,)
    busy = view(2, Place.WARM, need=10, leases=1, loaded_at=95.0)
    assert planned(view(1, Place.WARM, need=130, kept=True), busy).look_again_s == 5.0


def room_in(key: int, *views: View) -> float:
    return room_in_s(views, key, BUDGET, now=100.0, hold_s=10.0, answer_s=3.0)


def test_how_long_a_model_may_wait_for_room() -> None:
    mine = view(9, need=60)
    busy = view(1, Place.WARM, need=50, leases=1, loaded_at=96.0)
    assert room_in(9, mine) == 0.0
    assert room_in(9, mine, view(1, Place.WARM, need=90)) == 0.0  # an idle one leaves at once
    assert room_in(9, mine, busy) == 9.0  # it is left 6 s more, then ends its answer
    assert room_in(9, mine, replace(busy, place=Place.LEAVING)) == 3.0
    assert room_in(9, mine, replace(busy, place=Place.LOADING, leases=0)) == 13.0


def test_who_waits_behind_others_waits_longer() -> None:
    mine, busy = view(9, need=60), view(1, Place.WARM, need=50, leases=1, loaded_at=96.0)
    before = [view(2, need=60, wanted_since=5.0), view(3, need=60, wanted_since=6.0)]
    assert room_in(9, mine, busy, before[0]) == 22.0
    assert room_in(9, mine, busy, *before) == 35.0
    assert room_in(2, mine, busy, *before) == 9.0
    assert room_in(9, mine, busy, view(2, need=500, wanted_since=5.0)) == 9.0  # who never fits stands in nobody's way
