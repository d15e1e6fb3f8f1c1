"""Who is asked after a failure, and what is told. No loop, no socket, no clock."""

from __future__ import annotations

import pytest

from gateway.balance import Balance
from relay.errors import (
    ApiError,
    BadRequest,
    BadUpstream,
    ConnectFailed,
    Reset,
    UpstreamTimeout,
)
from tests.gateway.searching import IMAGE, A, B, C, D, Run, busy, candidate, too_long


@pytest.mark.parametrize("kind", [BadUpstream, Reset, UpstreamTimeout])
def test_each_node_is_asked_once_and_four_at_most(kind: type[ApiError]) -> None:
    crowd = [candidate(f"n{number}") for number in range(20)]
    asked, told = Run.of(crowd).goes(lambda one: kind(f"of {one.node}"))
    assert len(asked) == len(set(asked)) == 4
    assert isinstance(told, kind)
    assert told.message == f"of {asked[-1]}"


def test_a_request_is_sent_eight_times_at_most_over_all_its_models() -> None:
    tiers = [[candidate(f"{model}{number}", model) for number in range(9)] for model in "xyz"]
    asked, _ = Run.of(*tiers).goes(lambda _: BadUpstream("broken"))
    assert len(set(asked)) == 8
    assert set(asked[:4]) <= {one.node for one in tiers[0]}
    assert set(asked[4:]) <= {one.node for one in tiers[1]}


def test_the_next_model_is_asked_only_when_all_of_the_one_before_failed() -> None:
    first, second = [candidate("a"), candidate("b")], [candidate("c", "other")]
    asked, told = Run.of(first, second).goes(lambda one: None if one.node == C else BadUpstream("broken"))
    assert (asked[-1], sorted(asked[:2]), told) == (C, sorted([A, B]), None)


def test_the_same_candidate_under_another_name_is_not_asked_again() -> None:
    asked, _ = Run.of([candidate("a")], [candidate("a"), candidate("b")]).goes(lambda _: UpstreamTimeout("silent"))
    assert asked == [A, B]


def test_another_model_of_a_node_that_failed_may_be_asked() -> None:
    asked, told = Run.of([candidate("a")], [candidate("a", "other")]).goes(
        lambda one: Reset("reset") if one.offer.model == "m" else None
    )
    assert (asked, told) == ([A, A], None)


def test_what_the_client_got_wrong_is_told_at_once() -> None:
    refused = BadRequest("no role", param="messages")
    asked, told = Run.of([candidate("a"), candidate("b")], [candidate("c", "other")]).goes(lambda _: refused)
    assert (len(asked), told) == (1, refused)


def test_what_may_still_be_at_work_is_not_sent_again() -> None:
    asked, told = Run.of([candidate("a"), candidate("b")], call=IMAGE).goes(lambda _: UpstreamTimeout("silent"))
    assert len(asked) == 1
    assert isinstance(told, UpstreamTimeout)
    asked, _ = Run.of([candidate("a"), candidate("b")], call=IMAGE).goes(lambda _: ConnectFailed("away"))
    assert len(asked) == 2


def test_where_nobody_can_be_reached_the_model_is_away_until_the_first_probe() -> None:
    run = Run.of([candidate("a"), candidate("b")])
    asked, told = run.goes(lambda _: ConnectFailed("away", code="connect_failed"))
    assert len(asked) == 2
    assert told is not None
    assert (told.status, told.code, told.retry_after_s) == (503, "model_unavailable", 1)
    again, told = Run.of([candidate("a"), candidate("b")], balance=run.balance).goes(lambda _: None)
    assert again == [], "nobody is hammered"
    assert told is not None
    assert (told.status, told.code, told.retry_after_s) == (503, "model_unavailable", 1)


def test_who_is_ill_is_passed_over_for_the_next_model() -> None:
    balance, ill = Balance(spread=lambda: 0.0), candidate("a")
    balance.unreachable(ill, 0.0)
    asked, told = Run.of([ill], [candidate("b", "other")], balance=balance).goes(lambda _: None)
    assert (asked, told) == ([B], None)
    assert balance.take_retry(candidate("b"), 0.0)


def test_too_long_goes_to_those_that_advertise_more_and_to_nobody_else() -> None:
    first = [candidate("a", context_length=4096), candidate("b", context_length=4096)]
    second = [candidate("c", "other", context_length=2048), candidate("d", "other", context_length=32768)]
    asked, told = Run.of(first, second).goes(lambda one: None if one.node == D else too_long())
    assert (asked[0] in (A, B), asked[1:], told) == (True, [D], None)


def test_too_long_for_all_is_told_in_the_words_of_the_first() -> None:
    first, second = candidate("a", context_length=4096), candidate("b", context_length=8192)
    unknown = candidate("c", context_length=None)
    errors: dict[str, ApiError] = {A: too_long(), B: too_long()}
    asked, told = Run.of([first], [second, unknown]).goes(lambda one: errors[one.node])
    assert (asked, told) == ([A, B], errors[A])


def test_too_long_for_one_and_the_larger_is_broken_or_busy() -> None:
    tiers = [[candidate("a", context_length=4096)], [candidate("b", context_length=8192)]]
    for error, status in ((BadUpstream("broken"), 502), (ConnectFailed("away"), 503), (busy(60), 429)):
        asked, told = Run.of(*tiers).goes(lambda one, error=error: too_long() if one.node == A else error)
        assert asked == [A, B]
        assert told is not None
        assert told.status == status


def test_broken_then_too_long_is_the_clients_to_mend() -> None:
    errors: dict[str, ApiError] = {A: BadUpstream("broken"), B: too_long()}
    _, told = Run.of([candidate("a")], [candidate("b")]).goes(lambda one: errors[one.node])
    assert told is errors[B]


def test_retries_are_bounded_by_node_but_for_streams_that_go_on() -> None:
    balance = Balance(spread=lambda: 0.0)
    bad, good = candidate("a"), candidate("b")
    reached = 0
    for _ in range(50):
        balance.answered(bad, 0.0)
        asked, told = Run.of([bad], [good], balance=balance).goes(
            lambda one: BadUpstream("broken") if one.node == A else None
        )
        reached += asked == [A, B] and told is None
    assert reached == 32
    balance.answered(bad, 0.0)
    asked, told = Run.of([bad], [good], balance=balance, resuming=True).goes(
        lambda one: BadUpstream("broken") if one.node == A else None
    )
    assert (asked, told) == ([A, B], None)


def test_without_any_candidate_the_model_is_away() -> None:
    for tiers in ((), ((),), ((), ())):
        asked, told = Run.of(*tiers).goes(lambda _: None)
        assert asked == []
        assert told is not None
        assert (told.status, told.retry_after_s) == (503, 5)


def test_streams_that_go_on_may_go_where_another_request_is_the_probe() -> None:
    balance, one, well = Balance(spread=lambda: 0.0), candidate("a"), candidate("b")
    balance.unreachable(one, 0.0)
    assert balance.probe(one, 1.0)
    asked, _ = Run.of([one], balance=balance, now=1.1).goes(lambda _: None)
    assert asked == []
    asked, told = Run.of([one], balance=balance, now=1.1, resuming=True).goes(lambda _: None)
    assert (asked, told) == ([A], None)
    asked, told = Run.of([one, well], balance=balance, now=1.1, resuming=True).goes(lambda _: None)
    assert (asked, told) == ([B], None), "somewhere else first"
