"""What was opened once is not verified again, and what is remembered has a bound."""

from __future__ import annotations

import postings as p
import pytest

from registry.advert import Refused
from registry.memo import Memo


def test_the_same_posting_is_opened_once() -> None:
    memo, raw = Memo(), p.delegated().to_json()
    assert memo.open(raw) is memo.open(raw)
    assert memo.open(raw).signer == p.DELEGATE.address


def test_a_posting_that_differs_in_a_byte_is_another() -> None:
    memo, raw = Memo(), p.delegated().to_json()
    memo.open(raw)
    for at in range(0, len(raw), 7):
        changed = raw[:at] + ("0" if raw[at] != "0" else "1") + raw[at + 1 :]
        with pytest.raises(Refused):
            memo.open(changed)


def test_what_was_refused_is_refused_again_and_takes_no_memory() -> None:
    memo = Memo()
    for raw in ("", "garbage", "\ud800", "x" * 10**6, p.own().to_json().replace("0x", "0y")):
        for _ in range(2):
            with pytest.raises(Refused):
                memo.open(raw)
    assert repr(memo) == "Memo(recent=0, bytes=0, alive=0)"


def test_the_least_recent_goes_first_unless_somebody_holds_it() -> None:
    postings = [p.own(seq=p.NOW * 1000 + number).to_json() for number in range(10)]
    memo = Memo(limit_bytes=3 * 4 * len(postings[0]))
    held = memo.open(postings[0])
    for raw in postings[1:]:
        memo.open(raw)
    assert repr(memo).startswith("Memo(recent=3,") and repr(memo).endswith("alive=4)")
    assert memo.open(postings[0]) is held
