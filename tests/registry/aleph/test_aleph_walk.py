"""The way through a host's pages, without a host: nothing is left out, and nothing goes on for ever."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from registry.aleph.walk import BARREN_PAGES, JUNK_PAGES, PAGE, Endless, Walk

Row = tuple[float, int]  # time, number
Pages = Callable[[list[Row], int, int], list[Row]]


def paged(rows: list[Row], page: int, size: int) -> list[Row]:
    return rows[(page - 1) * size : page * size]


def walked(rows: list[Row], show: Pages = paged, change: Callable[[int], None] = lambda asked: None) -> list[int]:
    """The numbers of the rows in the order of their coming; `change` is called before each page."""
    walk, found, asked = Walk(), dict[int, None](), 0
    while True:
        change(asked)
        asked += 1
        params = walk.params
        listed = sorted(row for row in rows if row[0] >= float(params.get("startDate", 0)))
        page = show(listed, int(params["page"]), int(params["pagination"]))
        fresh = [number for _, number in page if number not in found]
        found |= dict.fromkeys(fresh)
        if not walk.advance([time for time, _ in page], bool(fresh)):
            return list(found)


def test_all_in_order() -> None:
    assert walked([(float(number), number) for number in range(1000)]) == list(range(1000))


@pytest.mark.parametrize("count", [0, 1, PAGE - 1, PAGE, PAGE + 1, 2 * PAGE])
def test_any_number(count: int) -> None:
    assert walked([(1.7e9 + number / 7, number) for number in range(count)]) == list(range(count))


def test_many_with_one_time() -> None:
    rows = [(5.0 if 100 < number < 900 else float(number), number) for number in range(1000)]
    assert sorted(walked(rows)) == list(range(1000))


def test_what_is_forgotten_meanwhile_hides_nothing() -> None:
    rows = [(float(number), number) for number in range(1, 1000)]
    found = walked(rows, change=lambda asked: rows.__delitem__(slice(0, 50 if asked else 0)))
    assert set(found) >= {number for _, number in rows}


def test_what_is_added_meanwhile_hides_nothing() -> None:
    rows = [(float(number), number) for number in range(1000)]
    found = walked(rows, change=lambda asked: rows.append((1.5, 1000 + asked)))
    assert set(found) >= set(range(1000))


def test_short_pages() -> None:
    rows = [(float(number), number) for number in range(1000)]
    assert walked(rows, lambda listed, page, size: paged(listed, page, size)[:7]) == list(range(1000))


def test_reversed_pages() -> None:
    rows = [(float(number), number) for number in range(1000)]
    assert sorted(walked(rows, lambda listed, page, size: paged(listed, page, size)[::-1])) == list(range(1000))


def test_pages_that_go_round() -> None:
    rows = [(float(number), number) for number in range(1000)]

    def show(listed: list[Row], page: int, size: int) -> list[Row]:
        return paged(listed, (page - 1) % (len(listed) // size + 1) + 1, size)

    assert walked(rows, show) == list(range(1000))


def test_the_same_page_for_ever_is_given_up() -> None:
    rows = [(float(number), number) for number in range(1000)]
    with pytest.raises(Endless):
        walked(rows, lambda listed, page, size: rows[:PAGE][::-1])


def test_times_that_rise_are_no_progress() -> None:
    walk, pages = Walk(), 0
    with pytest.raises(Endless):
        while walk.advance([float(pages)] * PAGE, fresh=False):
            pages += 1
    assert pages == BARREN_PAGES - 1


@pytest.mark.parametrize("every", [2, BARREN_PAGES - 1])
def test_an_honest_message_now_and_then_does_not_keep_it_up_for_ever(every: int) -> None:
    walk, pages = Walk(), 0
    with pytest.raises(Endless):
        while walk.advance([float(pages)] * PAGE, fresh=pages % every == 0):
            pages += 1
    assert pages <= 2 * JUNK_PAGES


def test_known_messages_that_are_shown_again_are_progress() -> None:
    walk = Walk()
    assert all(walk.advance([float(page)] * PAGE, fresh=False, familiar=True) for page in range(2 * JUNK_PAGES))


def test_a_long_board() -> None:
    count, step = 120_000, 0.25
    walk, found = Walk(), 0
    while True:
        first = math.ceil(float(walk.params.get("startDate", 0)) / step) + (int(walk.params["page"]) - 1) * PAGE
        page = range(first, min(first + PAGE, count))
        fresh = bool(page) and page[-1] >= found
        found = max(found, page.stop)
        if not walk.advance([number * step for number in page], fresh):
            break
    assert found == count


@pytest.mark.parametrize("time", [None, "now", float("nan"), float("inf"), -1.0, 10**400, True])
def test_times_of_any_kind(time: object) -> None:
    walk = Walk()
    assert walk.advance([1.0, time], fresh=True)
    assert set(walk.params) >= {"page", "pagination"}
    assert not walk.advance([], fresh=False)


def test_a_page_that_is_too_large_is_asked_for_in_pieces() -> None:
    walk = Walk()
    sizes = [int(walk.params["pagination"])]
    while walk.shrink():
        sizes.append(int(walk.params["pagination"]))
    assert sizes == [200, 40, 8, 1] and walk.params["page"] == "1"
    walk.advance([1.0], fresh=True)
    assert int(walk.params["pagination"]) > 1


def test_a_host_with_smaller_pages() -> None:
    walk, found = Walk(), set[int]()
    rows = list(range(100))
    while True:
        size = min(int(walk.params["pagination"]), 10)
        page = paged([(7.0, row) for row in rows], int(walk.params["page"]), size)
        fresh = {number for _, number in page} - found
        found |= fresh
        if not walk.advance([time for time, _ in page], bool(fresh), 10):
            break
    assert found == set(rows)
