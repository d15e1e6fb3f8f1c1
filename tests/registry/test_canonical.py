"""The canonical text: one spelling, strictly read, each fault by its name."""

from __future__ import annotations

import json
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.advert import MAX_TEXT_BYTES, Envelope, Reason, Refused, canonical, parse_canonical
from registry.canonical import _STRING, MAX_DEPTH
from registry.envelope import MAX_ENVELOPE_BYTES

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(max_codepoint=127)), inner),
    max_leaves=20,
)
OBJECTS = st.dictionaries(st.text(st.characters(max_codepoint=127), max_size=8), VALUES, max_size=6)


@given(OBJECTS)
def test_what_is_written_is_read_back(value: dict[str, object]) -> None:
    text = canonical(value)
    assert parse_canonical(text) == value
    assert text == json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", Reason.MALFORMED),
        ("nonsense", Reason.MALFORMED),
        ("[]", Reason.MALFORMED),
        ("null", Reason.MALFORMED),
        ('{"a":1', Reason.MALFORMED),
        ('{"a":NaN}', Reason.MALFORMED),
        ('{"a":-Infinity}', Reason.MALFORMED),
        ('{"a":01}', Reason.MALFORMED),
        ('{"a":"\x01"}', Reason.MALFORMED),
        ('{"a":"\ud800"}', Reason.MALFORMED),
        ('\ufeff{"a":1}', Reason.MALFORMED),
        ('{"a":1}\x00', Reason.MALFORMED),
        ('{"a":7.0}', Reason.NOT_CANONICAL),
        ('{"a":7e0}', Reason.NOT_CANONICAL),
        ('{"a":-0}', Reason.NOT_CANONICAL),
        ('{"a":9007199254740992}', Reason.NOT_CANONICAL),
        ('{"a":-9007199254740992}', Reason.NOT_CANONICAL),
        ('{"a":' + "9" * 5000 + "}", Reason.NOT_CANONICAL),
        ('{"a":1,"a":1}', Reason.NOT_CANONICAL),
        ('{"b":1,"a":1}', Reason.NOT_CANONICAL),
        ('{"a": 1}', Reason.NOT_CANONICAL),
        ('{"a":1}\n', Reason.NOT_CANONICAL),
        ('{"é":1}', Reason.NOT_CANONICAL),
        ('{"a":"\\u00e9"}', Reason.NOT_CANONICAL),
        ('{"a":"\\/"}', Reason.NOT_CANONICAL),
        ('{"a":"\\u000a"}', Reason.NOT_CANONICAL),
        ('{"a":"\\u001F"}', Reason.NOT_CANONICAL),
        ('{"a":"\\ud800"}', Reason.NOT_CANONICAL),
        ('{"a":"\\ud83d\\ude00"}', Reason.NOT_CANONICAL),
        ('{"a":"' + "x" * MAX_TEXT_BYTES + '"}', Reason.TOO_LARGE),
        ('{"a":"' + "é" * (MAX_TEXT_BYTES // 2) + '"}', Reason.TOO_LARGE),
        ("[" * 10_000, Reason.MALFORMED),
        ('{"a":' * 10_000 + "1" + "}" * 10_000, Reason.MALFORMED),
        ('{"a":' + "[" * MAX_DEPTH + "]" * MAX_DEPTH + "}", Reason.MALFORMED),
    ],
)
def test_each_fault_has_its_name(text: str, reason: Reason) -> None:
    with pytest.raises(Refused) as refused:
        parse_canonical(text)
    assert refused.value.reason is reason


def test_the_largest_and_the_deepest_text_pass() -> None:
    assert parse_canonical('{"a":"' + "x" * (MAX_TEXT_BYTES - 8) + '"}')
    assert parse_canonical('{"a":' + "[" * (MAX_DEPTH - 1) + "]" * (MAX_DEPTH - 1) + "}")
    assert parse_canonical('{"a":"' + "[{" * 500 + '"}'), "brackets in a string are no nesting"
    assert parse_canonical('{"a":9007199254740991,"b":-9007199254740991}')


@pytest.mark.parametrize("unit", ['\\"', '"', "\\", '["', '{"\\"', '""['])
@pytest.mark.parametrize("start", ["", "[" * 33 + '"'])
def test_a_text_of_quotes_and_brackets_is_refused_in_one_pass(start: str, unit: str) -> None:
    """Looked for anew from every quote in it, the end of an unterminated string takes minutes to miss."""
    text = start + unit * ((MAX_ENVELOPE_BYTES - len(start)) // len(unit))
    with pytest.raises(Refused) as refused:
        Envelope.parse(text)
    assert refused.value.reason is Reason.MALFORMED


@given(st.text(alphabet='"\\[]{}x\n', max_size=40))
def test_no_quote_is_looked_at_twice(text: str) -> None:
    """A quote that the scan left behind would have been tried, to the end of the text, in vain."""
    assert '"' not in _STRING.sub("", text)


def test_depth_is_judged_alike_near_the_end_of_the_stack() -> None:
    def at(depth: int) -> Reason:
        if depth:
            return at(depth - 1)
        with pytest.raises(Refused) as refused:
            parse_canonical("[" * 10_000)
        return refused.value.reason

    assert at(0) is at(sys.getrecursionlimit() // 2) is Reason.MALFORMED


@pytest.mark.parametrize("value", [{"a": 1.0}, {"é": 1}, {"a": 2**53}, {"a": "\ud800"}, {"a": {1}}, {1: 2}, {"a": b""}])
def test_what_has_no_canonical_text_cannot_be_written(value: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        canonical(value)
