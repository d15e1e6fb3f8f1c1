"""How many retries a node may be sent. No loop, no socket, no clock."""

from __future__ import annotations

from gateway.retries import Retries


def spent(retries: Retries, node: str = "a", now: float = 0.0) -> int:
    """How many it gives in one moment."""
    return next(number for number in range(1000) if not retries.take(node, now))


def test_a_burst_is_given_then_no_more() -> None:
    retries = Retries()
    assert spent(retries) == 32
    assert not retries.take("a", 0.0)
    assert spent(retries, "b") == 32, "each node has its own"


def test_time_gives_two_a_second_and_never_more_than_the_burst() -> None:
    retries = Retries()
    spent(retries)
    assert spent(retries, now=3.0) == 6
    assert spent(retries, now=1e9) == 32


def test_a_fifth_of_what_it_answers_is_given_back() -> None:
    retries = Retries()
    spent(retries)
    for _ in range(51):
        retries.answered("a", 0.0)
    assert spent(retries) == 10


def test_a_clock_that_stands_or_goes_back_gives_nothing() -> None:
    retries = Retries()
    spent(retries, now=100.0)
    assert not retries.take("a", 100.0)
    assert not retries.take("a", 50.0)


def test_only_nodes_that_were_sent_retries_are_kept() -> None:
    retries = Retries()
    retries.answered("a", 0.0)
    assert retries.nodes == {}
    retries.take("a", 0.0)
    retries.answered("a", 10.0)
    assert retries.nodes == {}, "full again"


def test_who_is_gone_is_forgotten_and_what_is_kept_is_bounded() -> None:
    retries = Retries(most_nodes=3)
    for number in range(10):
        retries.take(f"n{number}", 0.0)
    retries.forget("n9")
    retries.forget("nobody")
    assert list(retries.nodes) == ["n7", "n8"]
    assert repr(retries) == "<Retries nodes=2>"
