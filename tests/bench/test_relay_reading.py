"""A stream as bench.relay reads it: however it is cut, each token counts once; whatever is amiss is no good answer."""

from __future__ import annotations

import orjson
import pytest

from bench.relay_reading import Reading, Unsound

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
ROLE = {"delta": {"role": "assistant", "content": None}}
STOP = {"delta": {}, "finish_reason": "stop"}
DONE = b"data: [DONE]\n\n"
WORDS = (" the", " way", '"', "\n\n", " é", " data: {", "\r\n", ' \\"content\\":\\"')


def event(choice: dict[str, object]) -> bytes:
    return b"data: " + orjson.dumps({"choices": [{"index": 0, **choice}], "id": "chatcmpl-1"}) + b"\n\n"


TOKENS = [event({"delta": {"content": word}}) for word in WORDS]
WHOLE = [event(ROLE), *TOKENS, event(STOP), DONE]


def framed(*chunks: bytes, end: bytes = b"0\r\n\r\n") -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + end


def read(*pieces: bytes, asked: int = len(TOKENS)) -> Reading:
    reading = Reading(asked)
    told = sum(reading.feed(piece) for piece in pieces)
    assert told == reading.tokens
    return reading


def is_whole(reading: Reading) -> bool:
    return reading.ended and reading.tokens == len(TOKENS)


def test_each_event_with_text_is_a_token() -> None:
    reading = Reading(len(TOKENS))
    assert [reading.feed(piece) for piece in (HEAD, *(framed(each, end=b"") for each in WHOLE))] == [
        0, 0, *(1 for _ in TOKENS), 0, 0
    ]  # fmt: skip
    assert not reading.ended
    reading.feed(b"0\r\n\r\n")
    assert reading.ended


def test_the_first_token_is_no_role_and_no_empty_text() -> None:
    reading = Reading(2)
    early = event(ROLE), event({"delta": {"role": "assistant", "content": ""}}), b": patience\n\n"
    assert reading.feed(HEAD + framed(*early, end=b"")) == 0
    assert reading.feed(framed(TOKENS[0], end=b"")) == 1
    assert reading.feed(framed(event({"delta": {"content": ""}}), end=b"")) == 0
    assert reading.feed(framed(TOKENS[1], event(STOP), DONE)) == 1
    assert reading.ended


def test_it_is_read_cut_in_two_anywhere() -> None:
    answer = HEAD + framed(*WHOLE)
    for at in range(1, len(answer)):
        assert is_whole(read(answer[:at], answer[at:])), at


def test_it_is_read_byte_by_byte() -> None:
    answer = HEAD + framed(*WHOLE)
    assert is_whole(read(*(answer[at : at + 1] for at in range(len(answer)))))


@pytest.mark.parametrize("size", [1, 7, 50, 100, 150, 4096])
def test_it_is_read_in_chunks_of_a_hop_s_own(size: int) -> None:
    body = b"".join(WHOLE)
    chunks = [body[at : at + size] for at in range(0, len(body), size)]
    assert is_whole(read(HEAD + framed(*chunks)))
    assert is_whole(read(HEAD, *(framed(chunk, end=b"") for chunk in chunks), b"0\r\n\r\n"))


def test_spaces_in_json_change_nothing() -> None:
    assert is_whole(read(HEAD + framed(*(each.replace(b'":', b'": ') for each in WHOLE[:2]), *WHOLE[2:])))
    spaced = [each.replace(b'"content":"', b'"content": "') for each in WHOLE]
    assert is_whole(read(HEAD, *(framed(each, end=b"") for each in spaced), b"0\r\n\r\n"))


ERROR = b'data: {"error":{"message":"broken","type":"server_error"}}\n\n'
AMISS = {
    "a token is missing": ([*WHOLE[:3], *WHOLE[4:]], "fewer tokens than asked for"),
    "a token is doubled": ([*WHOLE[:3], *WHOLE[2:]], "more tokens than asked for"),
    "its end is missing": (WHOLE[:-1], "ended without [DONE]"),
    "an event is half there": ([*WHOLE[:-2], WHOLE[-2][:20]], "ended without [DONE]"),
    "its reason is missing": ([*WHOLE[:-2], DONE], "ended without a finish_reason"),
    "an error for a token": ([*WHOLE[:3], ERROR, *WHOLE[4:]], "an error event"),
    "an error beside all tokens": ([*WHOLE[:3], ERROR, *WHOLE[3:]], "an error event"),
    "an error at once": ([ERROR, DONE], "an error event"),
    "an error by its event's name": ([WHOLE[0], b'event: error\ndata: {"message":"broken"}\n\n'], "an error event"),
    "an error behind its end": ([*WHOLE, ERROR], "an error event"),
    "a token behind its end": ([*WHOLE, TOKENS[0]], "more tokens than asked for"),
    "no JSON": ([*WHOLE[:3], b"data: oops\n\n", *WHOLE[3:]], "an event that is no JSON object"),
}


@pytest.mark.parametrize(("chunks", "how"), AMISS.values(), ids=AMISS.keys())
def test_what_is_amiss_is_told(chunks: list[bytes], how: str) -> None:
    for pieces in ([HEAD + framed(*chunks)], [HEAD, *(framed(each, end=b"") for each in chunks), b"0\r\n\r\n"]):
        with pytest.raises(Unsound) as told:
            read(*pieces)
        assert str(told.value) in (how, "more behind [DONE]")


@pytest.mark.parametrize(
    ("answer", "how"),
    [
        (b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n", "status 502"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\ndata:", "not chunked"),
        (HEAD + framed(*WHOLE) + b"HTTP/1.1 200 OK\r\n", "bytes behind its end"),
    ],
)
def test_what_is_no_stream_is_told(answer: bytes, how: str) -> None:
    with pytest.raises(Unsound, match=how):
        read(answer)
