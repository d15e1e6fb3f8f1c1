"""The compact form: any text comes back, any bytes become some text, and nothing blows up."""

from __future__ import annotations

import itertools
import json
import zlib

import postings as p
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from registry.advert import MAX_ENVELOPE_BYTES, Envelope, Reason, Refused
from registry.evm.dictionary import DICTIONARY
from registry.evm.payload import BATCH_CHARS, BATCH_TEXTS, OVERSIZE, batches, pack, unpack

HEX = st.sampled_from((20, 32, 65)).flatmap(lambda size: st.binary(min_size=size, max_size=size)).map(bytes.hex)
BASE64URL = st.text("abcXYZ019-_", min_size=40, max_size=90)
PIECES = st.one_of(HEX, HEX.map(str.upper), BASE64URL, st.sampled_from(("0x", "\\", "\\\\", "{", "0" * 40)), st.text())


@given(st.text())
@example("")
@example("\x01")
@example("\x00" * 9)
@example("x" * MAX_ENVELOPE_BYTES)
@example("é" * (MAX_ENVELOPE_BYTES // 2))
def test_any_text_comes_back(text: str) -> None:
    assert unpack(pack(text)) == text


@given(st.lists(PIECES))
def test_runs_of_every_spelling_come_back(pieces: list[str]) -> None:
    text = '"' + '"'.join(pieces + pieces) + '"'
    assert unpack(pack(text)) == text
    nested = json.dumps({"text": text, "again": pieces})
    assert unpack(pack(nested)) == nested


def test_more_runs_than_can_be_numbered_come_back() -> None:
    text = json.dumps([f"{number:040x}" for number in range(300)] * 2)
    assert unpack(pack(text)) == text


@pytest.mark.parametrize(
    ("envelope", "most"),
    [(p.delegated(), 450), (p.own(), 330), (p.tombstone(), 220), (p.revocation(p.DELEGATE.address), 140)],
)
def test_envelopes_get_small(envelope: Envelope, most: int) -> None:
    text = envelope.to_json()
    assert unpack(pack(text)) == text and len(pack(text)) <= most


@given(st.binary())
@example(b"")
@example(b"\x01")
@example(b"\x01\x03\x00")
@example(b"\x02whatever")
@example(b"\xff\xfe")
def test_any_bytes_are_some_text(payload: bytes) -> None:
    assert isinstance(unpack(payload), str)


@given(st.binary(max_size=60), st.integers(0, 500), st.binary(max_size=3))
def test_a_broken_payload_is_some_text(junk: bytes, at: int, put: bytes) -> None:
    whole = pack(p.delegated().to_json())
    for broken in (whole[:at], whole[:at] + put + whole[at + 1 :], whole + junk):
        assert isinstance(unpack(broken), str)


def test_anybody_can_post_a_plain_envelope() -> None:
    text = p.own().to_json()
    assert unpack(text.encode()) == text


def test_a_lone_surrogate_reads_as_replaced() -> None:
    assert unpack(pack("a\ud800b")) == "a\ufffd\ufffd\ufffdb"


def packed(marked: bytes, runs: bytes = b"") -> bytes:
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15, 9, zlib.Z_DEFAULT_STRATEGY, DICTIONARY)
    return b"\x01" + deflate.compress(marked) + deflate.flush() + runs


REPLACED = packed(b"\xff" * MAX_ENVELOPE_BYTES)  # no larger than an envelope until it is written as UTF-8
BOMB = packed(b"x" * MAX_ENVELOPE_BYTES)


@pytest.mark.parametrize(
    "bomb",
    [
        packed(b"x" * 50_000_000),
        packed(b"\xfa" + b"\xfd\x00" * 130_000, b"r" * 65),
        REPLACED,
        pack("y" * (MAX_ENVELOPE_BYTES + 1)),
        pack("é" * (MAX_ENVELOPE_BYTES // 2) + "x"),
    ],
    ids=["deflate", "runs", "replaced", "one-too-many", "in-bytes"],
)
def test_of_a_bomb_nothing_is_kept_that_a_reader_believes(bomb: bytes) -> None:
    text = unpack(bomb)
    assert len(text) <= MAX_ENVELOPE_BYTES and (text == OVERSIZE or bomb == REPLACED)
    with pytest.raises(Refused) as caught:
        Envelope.parse(text)
    assert caught.value.reason is (Reason.TOO_LARGE if bomb == REPLACED else Reason.MALFORMED)


@pytest.mark.parametrize("marked", [b"\xfd\x00", b"\xf8", b"\xf8\xfd\x01"])
def test_runs_that_are_not_there_make_it_a_text_as_it_stands(marked: bytes) -> None:
    payload = packed(marked * 100)
    assert unpack(payload) == payload.decode("utf-8", "replace")


def test_batches_hold_all_texts_in_order_and_never_much_at_once() -> None:
    sizes = [10, MAX_ENVELOPE_BYTES, 0] * 40 + [5] * 500
    texts = [str(number % 10) * size for number, size in enumerate(sizes)]
    found = list(batches(map(pack, texts)))
    assert [text for batch in found for text in batch] == texts
    assert max(sum(map(len, batch)) for batch in found) < BATCH_CHARS + MAX_ENVELOPE_BYTES
    assert max(map(len, found)) == BATCH_TEXTS and list(batches([])) == []


def test_nothing_is_unpacked_before_it_is_asked_for() -> None:
    numbers = itertools.count()
    unpacking = batches(BOMB for _ in numbers)
    for number in range(3):
        assert len(next(unpacking)) == 16 and repr(numbers) == f"count({16 * number + 16})"


def test_the_dictionary_is_part_of_the_format() -> None:
    assert zlib.crc32(DICTIONARY) == DICTIONARY_CRC


DICTIONARY_CRC = 3404061955  # another one makes every posting made so far unreadable
