"""What an answer's end says of its tokens: each API's shape, cut ones, and figures that cannot be true."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.telemetry.usage import Usage, usage_of

TIMINGS = b'"timings":{"cache_n":30,"prompt_n":1,"prompt_ms":6.5,"predicted_n":4,"predicted_ms":20.0}'
CHAT_END = b'data: {"choices":[{"finish_reason":"length","index":0,"delta":{}}],%b}\n\ndata: [DONE]\n\n' % TIMINGS
CHAT_USAGE = b'data: {"choices":[],"usage":{"completion_tokens":4,"prompt_tokens":31,"prompt_tokens_details":null}}\n\n'
RESPONSE_END = (
    b'event: response.completed\ndata: {"type":"response.completed","response":{"output":[],"usage":'
    b'{"input_tokens":31,"output_tokens":4,"total_tokens":35,"input_tokens_details":{"cached_tokens":30}}},%b}\n\n'
    % TIMINGS
)
MESSAGE = (
    b'event: message_start\ndata: {"type":"message_start","message":{"usage":{"cache_read_input_tokens":30,'
    b'"input_tokens":1,"output_tokens":0}}}\n\nevent: message_delta\ndata: {"type":"message_delta","usage":'
    b'{"output_tokens":4}}\n\nevent: message_stop\ndata: {"type":"message_stop"}\n\n'
)
COMPLETION = (
    b'{"choices":[],"usage":{"completion_tokens":4,"prompt_tokens":31,"prompt_tokens_details":{"cached_tokens":30}},%b}'
    % TIMINGS
)


@pytest.mark.parametrize(
    ("text", "events", "found"),
    [
        (CHAT_END, True, Usage(31, 4, 30, 0.02)),
        (b": waiting\n\n" + CHAT_USAGE + b"data: [DONE]\n\n", True, Usage(31, 4)),
        (CHAT_USAGE.replace(b"\n", b"\r\n"), True, Usage(31, 4)),
        (CHAT_USAGE.replace(b":4", b":3") + CHAT_USAGE, True, Usage(31, 4)),  # with each event, as some engines say it
        (RESPONSE_END, True, Usage(31, 4, 30, 0.02)),
        (RESPONSE_END[60:], True, Usage(31, 4, 30, 0.02)),  # its event is too large to be had whole
        (MESSAGE, True, Usage(31, 4, 30)),
        (COMPLETION, False, Usage(31, 4, 30, 0.02)),
        (COMPLETION[10:], False, Usage(31, 4, 30, 0.02)),
        (orjson.dumps(orjson.loads(COMPLETION), option=orjson.OPT_INDENT_2), False, Usage(31, 4, 30, 0.02)),
        (b'{"object":"list","usage":{"prompt_tokens":6,"total_tokens":6},"data":[]}', False, Usage(6)),
        (b'{"object":"list","usage":{"prompt_tokens":6,"total_tokens":6},"data":[{"embedding":[0.1,', False, Usage(6)),
        (b'{"text":"hello"}', False, Usage()),
        (b"", True, Usage()),
    ],
)  # fmt: skip
def test_each_shape_is_read(text: bytes, events: bool, found: Usage) -> None:
    assert usage_of([text], events=events) == found


def test_what_was_said_first_fills_in_what_was_not_said_last() -> None:
    start, _, end = MESSAGE.partition(b"event: message_delta")
    assert usage_of([end, start], events=True) == Usage(31, 4, 30)


def test_what_a_model_wrote_is_not_taken_for_figures() -> None:
    """As text it stands in a string, and as a tool's arguments inside another object."""
    written = {"usage": {"input_tokens": 999_999, "output_tokens": 999_999}}
    body = {
        "usage": {"input_tokens": 5, "output_tokens": 2},
        "content": [{"text": orjson.dumps(written).decode()}, {"type": "tool_use", "input": written}],
    }
    assert usage_of([orjson.dumps(body)], events=False) == Usage(5, 2)
    event = b"data: " + orjson.dumps({"choices": [{"delta": {"content": orjson.dumps(written).decode()}}]}) + b"\n\n"
    assert usage_of([event[20:]], events=True) == Usage()


@pytest.mark.parametrize("wrong", ["-1", "1e300", '"7"', "null", "true", "[7]", "{}", "7.5", "NaN", "99999999999999"])
def test_a_figure_that_cannot_be_true_is_left_out_alone(wrong: str) -> None:
    body = f'{{"usage":{{"prompt_tokens":{wrong},"completion_tokens":4}}}}'.encode()
    assert usage_of([body], events=False).prompt is None
    if wrong != "NaN":  # with which nothing is JSON
        assert usage_of([body], events=False).generated == 4
    body = f'{{"usage":{wrong},"timings":{{"predicted_n":{wrong},"predicted_ms":{wrong}}}}}'.encode()
    assert usage_of([body], events=False).generated is None


def test_more_cached_than_asked_is_left_out() -> None:
    body = b'{"usage":{"prompt_tokens":5,"completion_tokens":1,"prompt_tokens_details":{"cached_tokens":6}}}'
    assert usage_of([body], events=False) == Usage(5, 1)


NAMES = (
    "usage", "timings", "response", "message", "prompt_tokens", "input_tokens", "output_tokens", "cached_tokens",
    "cache_read_input_tokens", "prompt_tokens_details", "cache_n", "prompt_n", "predicted_n", "predicted_ms",
)  # fmt: skip
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "usage",
                    "timings",
                    "response",
                    "message",
                    "prompt_tokens",
                    "input_tokens",
                    "output_tokens",
                    "cache_read_input_tokens",
                    "prompt_tokens_details",
                    "cached_tokens",
                    "cache_n",
                    "prompt_n",
                    "predicted_n",
                    "predicted_ms",
                ]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)


@given(ANYTHING, st.integers(0, 40), st.binary(max_size=20), st.booleans())
def test_nothing_that_an_engine_writes_breaks_it(said: object, cut: int, noise: bytes, events: bool) -> None:
    text = (b"data: " if events else b"") + orjson.dumps(said)
    for each in ([text], [text[cut:], text[:cut]], [noise + text], [text + noise], [text[: len(text) - cut]]):
        found = usage_of(each, events=events)
        for count in (found.prompt, found.generated, found.cached):
            assert count is None or 0 <= count <= 2**26
        assert found.cached is None or (found.prompt is not None and found.cached <= found.prompt)


def test_absurd_nesting_says_nothing() -> None:
    text = b'{"usage":' * 20_000 + b"1" + b"}" * 20_000
    assert usage_of([text], events=False) == Usage()
    assert usage_of([b"data: " + text], events=True) == Usage()
