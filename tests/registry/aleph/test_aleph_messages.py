"""What counts as an honest message: real ones, signed by the network's own SDK, and what a host may make of them."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable
from typing import Any

import orjson
import postings as p
import pytest
from eth_utils.address import to_checksum_address
from hypothesis import example, given
from hypothesis import strategies as st

from registry.aleph.messages import Forged, Message, checksum, posting, posting_content, verify
from tests.fakes.signed import ALICE, BOB, signed

ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
ENVELOPE = p.own().to_dict()


def message(content: dict[str, Any] | None = None, kind: str = "POST") -> dict[str, Any]:
    address = ALICE.get_address()
    posted = {"type": "waypost", "address": address, "content": ENVELOPE, "time": 1.5}
    return asyncio.run(signed(posted if content is None else content, kind))


HONEST = message()


def test_an_honest_message_gives_back_what_was_posted() -> None:
    found = verify(HONEST)
    assert found and posting(found) == p.own().to_json()
    assert found.sender == found.address == ALICE.get_address().lower()
    assert found.item_hash == HONEST["item_hash"]


def test_what_is_not_signed_is_not_read() -> None:
    lies = {"content": {"content": {"forged": True}}, "time": "never", "channel": 7, "confirmed": True, "size": -1}
    found = verify({**HONEST, **lies})
    assert found == verify(HONEST)


def _signature(r_s: str, v: int) -> str:
    return r_s + f"{v:02x}"


R_S, V = HONEST["signature"].removeprefix("0x")[:128], int(HONEST["signature"][-2:], 16)
HIGH_S = R_S[:64] + f"{ORDER - int(R_S[64:], 16):064x}"


@pytest.mark.parametrize(
    "signature",
    [
        "0x" + _signature(R_S, V),
        _signature(R_S, V),
        _signature(R_S, V).upper(),
        _signature(R_S, V - 27),
        _signature(R_S, 37 + V - 27),
        _signature(HIGH_S, 55 - V),
        _signature(HIGH_S, 28 - V),
    ],
)
def test_every_spelling_of_a_signature_that_nodes_take(signature: str) -> None:
    assert verify({**HONEST, "signature": signature}) == verify(HONEST)


def altered(content: dict[str, Any]) -> dict[str, str]:
    text = json.dumps(content)
    return {"item_content": text, "item_hash": hashlib.sha256(text.encode()).hexdigest()}


@pytest.mark.parametrize(
    "change",
    [
        {"item_content": HONEST["item_content"] + " "},
        {"item_content": None},
        {"item_content": "\ud800"},
        {"item_hash": "00" * 32},
        {"item_hash": HONEST["item_hash"].upper()},
        altered({"type": "waypost", "address": ALICE.get_address(), "content": "forged"}),
        {"sender": BOB.get_address()},
        {"sender": ALICE.get_address().lower()},  # the signed text has the other spelling
        {"sender": 5},
        {"sender": "\ud800"},
        {"type": "AGGREGATE"},
        {"type": None},
        {"signature": None},
        {"signature": ""},
        {"signature": "0x" + "00" * 65},
        {"signature": "0x" + "ff" * 65},
        {"signature": HONEST["signature"][:-2] + "1d"},
        {"chain": None},
    ],
)
def test_whatever_is_changed_is_noticed(change: dict[str, Any]) -> None:
    with pytest.raises(Forged):
        verify({**HONEST, **change})


@pytest.mark.parametrize("raw", [None, 1, "x", [], {}, [HONEST], True])
def test_what_is_no_message_is_forged(raw: Any) -> None:
    with pytest.raises(Forged):
        verify(raw)


def test_another_chain_is_not_judged() -> None:
    assert verify({**HONEST, "chain": "SOL"}) is None


def test_a_shell_without_content_carries_nothing_and_hides_nothing() -> None:
    shell = verify({**HONEST, "item_type": "storage", "item_content": None})
    whole = verify(HONEST)
    assert shell and whole and posting(shell) is None and shell.key != whole.key


@pytest.mark.parametrize(
    "content",
    [
        {"type": "other", "address": "0x", "content": {}},
        {"type": "waypost", "content": {}},
        {"type": "waypost", "address": 5, "content": {}},
        {"type": "waypost", "address": "0x"},
        {"type": "waypost", "address": "0x", "content": None},
        {},
    ],
)
def test_other_posts_are_not_ours(content: dict[str, Any]) -> None:
    found = verify(message(content))
    assert found and posting(found) is None


def test_other_kinds_are_not_ours() -> None:
    found = verify(message(kind="AGGREGATE"))
    assert found and posting(found) is None


@pytest.mark.parametrize(
    "text", ["not JSON", "[]", '"a"', "NaN", "1e999", '{"a":"\\ud800"}', "[" * 5000, '{"a":' * 1100 + "1" + "}" * 1100]
)
def test_any_content_is_survived(text: str) -> None:
    raw = {**HONEST, "item_content": text, "item_hash": hashlib.sha256(text.encode()).hexdigest()}
    buffer = "\n".join(("ETH", raw["sender"], "POST", raw["item_hash"])).encode()
    raw["signature"] = asyncio.run(ALICE.sign_raw(buffer)).hex()
    found = verify(raw)
    assert found and posting(found) is None


def test_content_nested_deeper_than_can_be_written_is_left_out() -> None:
    inner: dict[str, Any] = {}
    for _ in range(300):
        inner = {"a": inner}
    found = verify(message({"type": "waypost", "address": "0x", "content": inner}))
    assert found and posting(found) is None


def carried(text: str) -> str | None:
    """What a reader gets of a posted text: the SDK writes it with the one JSON library, the reader uses the other."""
    content = {"type": "waypost", "address": "0x00", "content": posting_content(text)}
    return posting(Message("POST", "", "", orjson.loads(json.dumps(content)), b""))


@given(st.text(st.characters(exclude_categories=())))
@example(p.own().to_json())
@example("")
@example("null")
@example("\ud800")
@example("a\x00b")
@example('{"a":1,"a":1}')
@example('{"a": 1}')
@example('{"a":1.0,"b":1e22,"c":-0.0,"d":123456789012345678901234567890}')
@example('{"raw":"x"}')
@example('{"base64":"eHg="}')
@example('{"base64":"?"}')
@example('{"tags":5}')
@example('{"z":"\\u0000"}')
@example('{"k":' * 300 + "1" + "}" * 300)
@example("[" * 2000)
def test_any_text_comes_back_as_it_was_posted(text: str) -> None:
    assert carried(text) == text


def test_an_envelope_is_posted_as_the_object_that_it_is() -> None:
    assert posting_content(p.own().to_json()) == ENVELOPE


def test_a_text_that_escaping_would_swell_is_packed() -> None:
    text = "\x01" * 100_000
    assert len(json.dumps(posting_content(text))) < 140_000


@pytest.mark.parametrize("change", [str.upper, str.lower, lambda text: text])
def test_checksums_are_those_of_the_network(change: Callable[[str], str]) -> None:
    for account in (ALICE, BOB):
        assert checksum("0x" + change(account.get_address()[2:])) == to_checksum_address(account.get_address())
