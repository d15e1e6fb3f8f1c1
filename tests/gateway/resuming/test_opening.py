"""When a stream has begun: with its first token, and not with what engines send before it."""

from __future__ import annotations

import orjson
import pytest

from gateway.resuming.opening import Opening
from relay.errors import ApiError, BadUpstream, Reset, Unavailable
from tests.gateway.resuming.chunks import DONE, call, delta, event, finish, role, word


def is_open(first: bytes) -> bool:
    return Opening().take(first)


@pytest.mark.parametrize(
    ("first", "expected"),
    [
        (b"", False),
        (role(), False),
        (role() + word("")[:-5], False),
        (role() + word("Once")[:-5], False),
        (word(""), False),
        (b": loading\n\n" + role(), False),
        (b"data:\n\n", False),
        (role() + word("Once"), True),
        (word("Once") + word(" upon")[:9], True),
        (delta(reasoning_content="Hm"), True),
        (call("", name="look", call_id="mine"), True),
        (role() + finish(), True),
        (event({"index": 0, "text": "Once"}), True),
    ],
)
def test_a_stream_has_begun_with_its_first_token(first: bytes, expected: bool) -> None:
    assert is_open(first) is expected


def test_an_error_or_garbage_before_the_first_token_is_a_failure_like_any() -> None:
    with pytest.raises(Unavailable):
        is_open(role() + b'data: {"error":{"message":"full","type":"unavailable_error"}}\n\n')
    with pytest.raises(BadUpstream):
        is_open(b"<html>\n\ndata: <p>\n\n")
    with pytest.raises(ApiError):
        is_open(b"data: " + b"x" * 5_000_000)
    with pytest.raises(Reset):
        is_open(role() + DONE)


def typed(**fields: object) -> bytes:
    return b"event: x\ndata: " + orjson.dumps(fields) + b"\n\n"


def test_streams_of_the_other_apis_begin_with_more_than_their_prelude() -> None:
    created = typed(type="response.created", response={}) + typed(type="response.output_item.added")
    assert not is_open(created)
    assert is_open(created + typed(type="response.output_text.delta", delta="Once"))
    begun = typed(type="message_start", message={}) + typed(type="ping") + typed(type="content_block_start")
    assert not is_open(begun)
    assert is_open(begun + typed(type="content_block_delta", delta={"text": "Once"}))
    with pytest.raises(BadUpstream) as told:
        is_open(created + typed(type="response.failed", response={"error": {"message": "out of memory"}}))
    assert told.value.message == "out of memory"
    with pytest.raises(Unavailable):
        is_open(begun + typed(type="error", error={"type": "unavailable_error", "message": "full"}))


@pytest.mark.parametrize(
    ("first", "expected"),
    [(b": loading\n\n", True), (b": a\n\n: b\n\n", True), (b": lo", False), (b": a\n\n" + role(), False), (b"", False)],
)
def test_comments_alone_ask_for_patience(first: bytes, expected: bool) -> None:
    opening = Opening()
    opening.take(first)
    assert opening.is_patience is expected
