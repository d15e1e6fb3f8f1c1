"""Streams as each API writes them: when one is whole, however its bytes are cut, and how an error stands in it."""

from __future__ import annotations

import orjson
import pytest

from relay.errors import Reset, UpstreamTimeout
from relay.events import CHAT_EVENTS, MESSAGE_EVENTS, OTHER_EVENTS, RESPONSE_EVENTS, Dialect, Ending
from tests.relay.wire.scene import Basin

DELTA = b'data: {"choices":[{"delta":{"content":"one"}}]}\n\n'
CHAT = (DELTA, DELTA, b"data: [DONE]\n\n")
RESPONSE = (
    b'event: response.created\ndata: {"type":"response.created"}\n\n',
    b'event: response.output_text.delta\ndata: {"delta":"one"}\n\n',
    b'event: response.completed\ndata: {"type":"response.completed"}\n\n',
)
MESSAGE = (
    b'event: message_start\ndata: {"type":"message_start"}\n\n',
    b'event: message_delta\ndata: {"delta":{"stop_reason":"end_turn"}}\n\n',
    b'event: message_stop\ndata: {"type":"message_stop"}\n\n',
)
WHOLE = [(CHAT_EVENTS, CHAT), (RESPONSE_EVENTS, RESPONSE), (MESSAGE_EVENTS, MESSAGE)]
BROKEN = Reset("It broke off.", code="upstream_broken")


def _fed(dialect: Dialect, *pieces: bytes) -> bool:
    basin = Basin()
    ending = Ending(dialect, basin)
    for piece in pieces:
        ending.write(piece)
    assert basin.bytes == b"".join(pieces)
    return ending.whole


@pytest.mark.parametrize(("dialect", "events"), WHOLE)
@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 65, 10_000])
def test_a_whole_stream_is_known_however_it_is_cut(dialect: Dialect, events: tuple[bytes, ...], size: int) -> None:
    stream = b"".join(events)
    assert _fed(dialect, *(stream[at : at + size] for at in range(0, len(stream), size)))


@pytest.mark.parametrize(("dialect", "events"), WHOLE)
def test_a_stream_without_its_last_event_is_not_whole(dialect: Dialect, events: tuple[bytes, ...]) -> None:
    for count in range(len(events)):
        assert not _fed(dialect, *events[:count])


@pytest.mark.parametrize("kind", [b"completed", b"incomplete", b"failed"])
def test_a_response_ends_in_one_of_three_ways(kind: bytes) -> None:
    assert _fed(RESPONSE_EVENTS, RESPONSE[0], b"event: response." + kind + b"\ndata: {}\n\n")


@pytest.mark.parametrize(("dialect", "events"), WHOLE)
def test_lines_may_end_as_they_do_on_windows(dialect: Dialect, events: tuple[bytes, ...]) -> None:
    assert _fed(dialect, *(event.replace(b"\n", b"\r\n") for event in events))
    assert _fed(dialect, *(event.replace(b": ", b":") for event in events))


@pytest.mark.parametrize(
    ("dialect", "said"),
    [
        (CHAT_EVENTS, "data: [DONE]"),
        (CHAT_EVENTS, "\ndata: [DONE]\n\n"),
        (RESPONSE_EVENTS, "\nevent: response.completed\n"),
        (MESSAGE_EVENTS, "\nevent: message_stop\n"),
    ],
)
def test_what_a_model_says_does_not_end_its_stream(dialect: Dialect, said: str) -> None:
    assert not _fed(dialect, b"data: " + orjson.dumps({"content": said}) + b"\n\n")


@pytest.mark.parametrize("dialect", [RESPONSE_EVENTS, MESSAGE_EVENTS])
def test_events_that_only_sound_like_the_end_are_not(dialect: Dialect) -> None:
    for name in (b"error", b"response.output_item.done", b"content_block_stop", b"ping"):
        assert not _fed(dialect, b"event: " + name + b"\ndata: {}\n\n")


def test_where_an_api_has_no_last_event_the_connection_tells() -> None:
    assert _fed(OTHER_EVENTS)
    assert _fed(OTHER_EVENTS, b"data: {}\n\n")


QUIET = [b": still here\n\n", b'event: ping\ndata: {"type": "ping"}\n\n', b"\n", b":\r\n\r\n: a\n\n: b\n\n"]


@pytest.mark.parametrize("quiet", QUIET)
def test_comments_and_pings_alone_do_not_keep_a_stream_alive(quiet: bytes) -> None:
    ending = Ending(MESSAGE_EVENTS, Basin(), quiet_s=-1)
    with pytest.raises(UpstreamTimeout) as caught:
        ending.write(quiet)
    assert caught.value.code == "gap_timeout"


@pytest.mark.parametrize("quiet", QUIET)
def test_who_speaks_among_comments_is_alive(quiet: bytes) -> None:
    ending = Ending(MESSAGE_EVENTS, Basin(), quiet_s=-1)
    ending.write(quiet + MESSAGE[0])
    ending.write(MESSAGE[1])


@pytest.mark.parametrize("size", [1, 2, 5, 9, 30])
def test_pieces_may_end_anywhere(size: int) -> None:
    quiet = b"".join(QUIET)
    ending = Ending(MESSAGE_EVENTS, Basin(), quiet_s=1000)
    for at in range(0, len(quiet), size):
        ending.write(quiet[at : at + size])
        assert "open" in repr(ending._silence)
    was = set()
    for at in range(0, len(MESSAGE[0]), size):
        ending.write(MESSAGE[0][at : at + size])
        was.add(repr(ending._silence))
    assert "<Silence broken>" in was


@pytest.mark.parametrize("quiet", QUIET)
def test_a_little_quiet_is_no_fault(quiet: bytes) -> None:
    assert _fed(MESSAGE_EVENTS, MESSAGE[0], quiet, quiet, *MESSAGE[1:])


def test_an_error_of_chat_is_the_envelope() -> None:
    data = CHAT_EVENTS.error(BROKEN)
    assert data.startswith(b"data: ")
    assert data.endswith(b"\n\n")
    assert orjson.loads(data[6:]) == BROKEN.envelope()


@pytest.mark.parametrize("dialect", [RESPONSE_EVENTS, OTHER_EVENTS])
def test_an_error_of_responses_is_a_typed_event(dialect: Dialect) -> None:
    name, data = dialect.error(BROKEN).rstrip(b"\n").split(b"\n")
    assert name == b"event: error"
    event = orjson.loads(data.removeprefix(b"data: "))
    assert {key: event[key] for key in ("type", "code", "message", "param")} == {
        "type": "error", "code": "upstream_broken", "message": "It broke off.", "param": None,
    }  # fmt: skip
    assert event["error"] == BROKEN.envelope()["error"], "which OpenAI's clients raise"


def test_an_error_of_messages_is_anthropics() -> None:
    name, data = MESSAGE_EVENTS.error(BROKEN).rstrip(b"\n").split(b"\n")
    assert name == b"event: error"
    assert orjson.loads(data.removeprefix(b"data: ")) == {
        "type": "error",
        "error": {"type": "api_error", "message": "It broke off."},
    }
