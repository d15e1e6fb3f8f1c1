"""What passes to a client of a stream: whole, sound events, however the bytes are cut; and what is remembered."""

from __future__ import annotations

from contextlib import nullcontext

import pytest

from gateway.resuming.checked import is_final
from gateway.resuming.events import gather
from gateway.resuming.opening import Opening
from relay.errors import ApiError, BadUpstream, Reset, TooManyRequests, Unavailable
from tests.gateway.resuming.chunks import DONE, Heard, event, finish, role, usage, word

WHOLE = (role(), word("Once"), word(" upon"), word(" a time"), finish(), usage(3, 4), DONE)
ODD = ('say "hi"', "back\\slash", "a\nline", "é", "你好", "😀", "\u2028", " ", "data: [DONE]", '"}}],"')


def test_a_whole_stream_passes_byte_for_byte() -> None:
    heard = Heard()
    heard.first(*WHOLE)
    heard.sink.end()
    assert heard.basin.pieces == list(WHOLE)
    assert (heard.said.text, heard.said.tokens, heard.said.done) == ("Once upon a time", 3, True)
    assert heard.sink.tail == finish() + usage(3, 4)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 250, 1000])
def test_it_may_come_in_pieces_of_any_size(size: int) -> None:
    raw, heard = b"".join(WHOLE), Heard()
    heard.first(*(raw[at : at + size] for at in range(0, len(raw), size)))
    heard.sink.end()
    assert heard.basin.bytes == raw
    assert (heard.said.text, heard.said.tokens) == ("Once upon a time", 3)


@pytest.mark.parametrize("text", ODD)
def test_any_text_is_remembered_as_it_was_meant(text: str) -> None:
    heard = Heard()
    heard.first(role(), word("a"), word(text), word("b"), word(text), finish(), DONE)
    assert heard.said.text == f"a{text}b{text}" == heard.text
    assert heard.said.tokens == 4


@pytest.mark.parametrize("size", [200, 333, 1000, 100_000])
def test_many_events_may_come_at_once(size: int) -> None:
    texts = ["Once", *ODD, " upon", *ODD]
    raw, heard = role() + b"".join(map(word, texts)) + finish() + usage(3, 4) + DONE, Heard()
    heard.first(role(), word("Well, "))
    heard.first(*(raw[at : at + size] for at in range(0, len(raw), size)))
    heard.sink.end()
    assert heard.basin.bytes == role() + word("Well, ") + raw
    assert (heard.said.text, heard.said.tokens) == ("Well, " + "".join(texts), len(texts) + 1)


@pytest.mark.parametrize(
    ("text", "good"),
    [
        (b'""', True),
        (b"null", True),
        (b"1", True),
        (b'["a"]', True),
        (b' "a"', True),
        (b'"a" ', True),
        (b'"a","name":"b"', True),
        (b'"a"\n\n', False),
        (b'"a" \n\n "', False),
        (b'"a"b"', False),
        (b'"\\"', False),
        (b'"\\ud800"', False),
        (b'"\xc3"', False),
        (b'"\x00"', False),
        (b"", False),
    ],
)
def test_what_only_looks_like_the_event_before_it_is_read_as_what_it_is(text: bytes, good: bool) -> None:
    """One by one, all at once or in crumbs: the same passes, and the same is remembered."""
    before, odd, after = role() + word("b"), word("x").replace(b'"x"', text), word("c")
    raw, found = before + odd + after, []
    crumbs = tuple(raw[at : at + 7] for at in range(0, len(raw), 7))
    for pieces in ((role(), word("b"), odd, after), (before, odd + after), (role(), word("b") + odd + after), crumbs):
        heard = Heard()
        with nullcontext() if good else pytest.raises(BadUpstream):
            heard.first(*pieces)
        found.append((heard.basin.bytes, heard.said.text, heard.said.tokens, heard.said.exact))
    assert found == [found[0]] * 4
    assert found[0][0] == (raw if good else before)


def test_a_character_that_two_events_share_is_garbage() -> None:
    heard = Heard()
    heard.first(role(), word("a"))
    with pytest.raises(BadUpstream):
        heard.first(word("b") + word("x").replace(b"x", b"\xc3") + word("x").replace(b"x", b"\xa9"))
    assert heard.basin.bytes == role() + word("a") + word("b")
    assert heard.said.text == "ab"


def test_the_ends_of_lines_may_be_any_and_comments_pass() -> None:
    raw = b": hello\r\n\r\n" + b"".join(WHOLE).replace(b"\n", b"\r\n")
    heard = Heard()
    heard.first(raw)
    heard.sink.end()
    assert heard.basin.bytes == raw
    assert heard.said.text == "Once upon a time"


def test_an_event_that_is_cut_is_not_passed_on() -> None:
    heard = Heard()
    heard.first(role(), word("Once"), word(" upon")[:-9])
    assert heard.basin.bytes == role() + word("Once")
    with pytest.raises(Reset):
        heard.sink.end()


@pytest.mark.parametrize("size", [1, 5, 10_000])
def test_an_empty_line_may_end_otherwise_than_the_one_before(size: int) -> None:
    raw, heard = b"".join(WHOLE).replace(b"\n\n", b"\n\r\n"), Heard()
    heard.first(*(raw[at : at + size] for at in range(0, len(raw), size)))
    assert heard.basin.bytes == raw
    assert heard.said.text == "Once upon a time"


def test_a_mark_before_the_first_event_hides_no_text() -> None:
    heard = Heard()
    heard.first(b"\xef\xbb\xbf" + word("Once"), word(" upon"))
    assert heard.said.text == "Once upon"


@pytest.mark.parametrize("empty", [b"data:\n\n", b"data: \r\n\r\n", b"event: ping\n\n", b"id: 7\n\n", b"\n\n"])
def test_an_event_that_says_nothing_is_not_passed_on(empty: bytes) -> None:
    """SDKs would read it as JSON."""
    heard = Heard()
    heard.first(*(each for piece in WHOLE for each in (empty, piece)))
    assert heard.basin.bytes == b"".join(WHOLE)


def test_text_behind_the_end_is_not_passed_on() -> None:
    heard = Heard()
    heard.first(*WHOLE, word(" and"), word(" more"))
    assert heard.basin.bytes == b"".join(WHOLE)


def test_a_long_event_in_small_pieces_is_looked_at_once() -> None:
    part, long = bytearray(), b"data: " + b"x" * 1_000_000
    for at in range(0, len(long), 20):
        assert gather(part, long[at : at + 20]) == []
    assert gather(part, b"\n\ndata: y") == [long + b"\n\n"]
    assert part == b"data: y"


@pytest.mark.parametrize(
    "garbage",
    [
        b"data: {half\n\n",
        b"data: nothing\n\n",
        b"data: [1]\n\n",
        b"data: \xff\xfe\n\n",
        b"data: {}\n\n",
        b'data: {"id": "first", "choices": null}\n\n',
        b'data: {"choices": 7}\n\n',
        b'data: {"choices": [7]}\n\n',
        b'data: {"choices": [{"index": "a", "delta": {}}]}\n\n',
        b'data: {"choices": [{"index": 0, "delta": "a"}]}\n\n',
        word("x").replace(b'"x"', b'"\xff"'),
        word("x").replace(b'"x"', b'"\x01"'),
    ],
)
def test_garbage_is_told_and_not_passed_on(garbage: bytes) -> None:
    heard = Heard()
    heard.first(role())
    with pytest.raises(BadUpstream) as told:
        heard.first(word("Once") + garbage + word(" more"))
    assert told.value.code == "upstream_garbage"
    assert heard.basin.bytes == role() + word("Once")


def test_garbage_in_a_text_that_looks_like_the_last_one_is_found_too() -> None:
    heard = Heard()
    heard.first(role(), word("a"), word("b"))
    with pytest.raises(BadUpstream):
        heard.first(word("x").replace(b'"x"', b'"\xff"'))
    with pytest.raises(BadUpstream):
        heard.first(word("x").replace(b'"x"', b'"\x01"'))
    assert heard.said.text == "ab"


def test_an_event_without_end_is_not_kept_for_ever() -> None:
    heard = Heard()
    with pytest.raises(BadUpstream):
        for _ in range(100):
            heard.first(b"data: " + b"x" * 100_000)


@pytest.mark.parametrize(
    ("error", "status", "final"),
    [
        (b'{"message":"no","type":"invalid_request_error"}', 400, True),
        (b'{"message":"no","code":400,"type":"exceed_context_size_error"}', 400, True),
        (b'{"message":"no","code":500}', 502, False),
        (b'{"message":"no","type":"unavailable_error"}', 503, False),
        (b'{"message":"no","type":"rate_limit_error"}', 429, False),
        (b'"no"', 502, False),
    ],
)
def test_an_error_event_is_the_nodes_word_and_not_passed_on(error: bytes, status: int, final: bool) -> None:
    heard = Heard()
    heard.first(role(), word("Once"))
    with pytest.raises(ApiError) as told:
        heard.first(b'data: {"error":' + error + b"}\n\n")
    assert (told.value.status, told.value.message) == (status, "no")
    assert is_final(told.value) is final
    assert b"error" not in heard.basin.bytes


@pytest.mark.parametrize(
    "told",
    [
        b'data: {"object":"error","message":"no memory","code":503}\n\n',
        b'event: error\ndata: {"message":"no memory","code":503}\n\n',
        b'id: 1\r\nevent:error\r\ndata: {"message":"no memory","code":503}\r\n\r\n',
        b'error: {"message":"no memory","code":503}\n\n',
    ],
    ids=["an object", "a named event", "a named event, CRLF", "a line"],
)
def test_an_error_may_be_told_in_other_ways(told: bytes) -> None:
    heard = Heard()
    with pytest.raises(Unavailable) as raised:
        heard.first(role(), told)
    assert raised.value.message == "no memory"
    with pytest.raises(Unavailable):
        Opening().take(role() + told)


def test_a_refusal_that_ends_by_itself_is_no_final_one() -> None:
    assert not is_final(TooManyRequests("later"))


def test_an_end_without_a_reason_is_none() -> None:
    for last in ((), (DONE,)):
        heard = Heard()
        heard.first(role(), word("Once"))
        with pytest.raises(Reset):
            heard.first(*last)
            heard.sink.end()
        assert DONE not in heard.basin.bytes


def test_what_lacks_only_the_mark_of_its_end_gets_it() -> None:
    heard = Heard()
    heard.first(*WHOLE[:-2])
    assert heard.finished, "whoever waits for the rest need not wait long"
    heard.sink.end()
    assert heard.basin.bytes == b"".join(WHOLE[:-2]) + DONE


def test_each_of_several_choices_has_its_own_end() -> None:
    heard = Heard(answers=2)
    heard.first(word("a"), word("b", index=1), finish())
    assert not heard.said.finished
    with pytest.raises(Reset):
        heard.sink.end()
    heard.first(word("c", index=1), finish(index=1))
    heard.sink.end()
    assert heard.said.done
    assert heard.said.exact


def test_a_mark_of_the_end_is_believed_where_all_that_began_has_ended() -> None:
    heard = Heard(answers=2)
    heard.first(word("a"), finish(), DONE)
    heard.sink.end()
    assert heard.basin.bytes.endswith(DONE)
    heard = Heard(answers=2)
    heard.first(word("a"), word("b", index=1), finish())
    with pytest.raises(Reset):
        heard.first(DONE)


def test_more_than_plain_text_is_marked() -> None:
    for piece in (
        event({"index": 0, "delta": {"reasoning_content": "hm"}}),
        event({"index": 0, "delta": {"content": "a"}, "logprobs": {"content": []}}),
        event({"index": 0, "delta": {"tool_calls": [{"index": 0, "function": {"name": "f", "arguments": ""}}]}}),
    ):
        heard = Heard()
        heard.first(piece)
        assert heard.said.exact
