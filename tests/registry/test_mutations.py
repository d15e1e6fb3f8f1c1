"""Valid envelopes bent byte by byte and field by field: none is accepted, and each refusal has its name."""

from __future__ import annotations

import base64
import json
from typing import Any

import postings as p
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from postings import NOW

from registry.advert import Envelope, Reason, Refused
from registry.trust import Policy, Trust, Verdict

ENVELOPES = {
    "own": p.own(region="zürich", vm={"platform": "aleph", "item_hash": "ef" * 32}),
    "delegated": p.delegated(p.delegation(url_suffixes=["2n6.me"], node=p.NODE.public)),
    "tombstone": p.tombstone(),
    "revocation": p.revocation(p.OTHER.address),
    "curation": p.curation(operators=[p.OPERATOR.address], models={"m": "ab" * 32}, slugs={"s": p.NODE.public}),
}
POLICY = Policy.parse(("any", f"curator:{p.CURATOR.address}"))
names = st.sampled_from(sorted(ENVELOPES))
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


def must_refuse(raw: str, original: Envelope) -> Verdict | None:
    """A fresh reader refuses `raw` by name, unless it says the very same as `original`."""
    try:
        if Envelope.parse(raw) == original:
            return None
    except Refused:
        pass
    trust = Trust(POLICY)
    verdict = trust.consider(raw, NOW)
    assert not verdict.accepted, f"accepted: {raw}"
    assert isinstance(verdict.reason, Reason) and verdict.detail
    assert not trust.believed(NOW) and trust.snapshot(NOW) == []
    return verdict


@pytest.mark.parametrize("name", sorted(ENVELOPES))
def test_unbent_they_are_accepted(name: str) -> None:
    assert Trust(POLICY).consider(ENVELOPES[name].to_json(), NOW).accepted


@settings(max_examples=1500, deadline=None)
@given(names, st.data())
def test_one_byte_changed(name: str, data: st.DataObject) -> None:
    raw = ENVELOPES[name].to_json().encode()
    at = data.draw(st.integers(0, len(raw) - 1))
    bent = raw[:at] + bytes([data.draw(st.integers(0, 255))]) + raw[at + 1 :]
    must_refuse(bent.decode("utf-8", "surrogateescape"), ENVELOPES[name])


@settings(max_examples=600, deadline=None)
@given(names, st.data())
def test_bytes_cut_doubled_or_put_in(name: str, data: st.DataObject) -> None:
    raw = ENVELOPES[name].to_json()
    start = data.draw(st.integers(0, len(raw)))
    end = data.draw(st.integers(start, min(len(raw), start + 40)))
    bent = data.draw(st.sampled_from([raw[:start] + raw[end:], raw[:end] + raw[start:end] + raw[end:]]))
    must_refuse(bent, ENVELOPES[name])
    must_refuse(raw[:start] + data.draw(st.text(min_size=1, max_size=3)) + raw[start:], ENVELOPES[name])


@settings(max_examples=600, deadline=None)
@given(names, st.data())
def test_one_byte_of_the_signed_text_changed(name: str, data: st.DataObject) -> None:
    fields = ENVELOPES[name].to_dict()
    text = fields["text"].encode()
    at = data.draw(st.integers(0, len(text) - 1))
    flipped = bytes([text[at] ^ data.draw(st.integers(1, 127))])
    fields["text"] = (text[:at] + flipped + text[at + 1 :]).decode("utf-8", "replace")
    assert must_refuse(json.dumps(fields), ENVELOPES[name])


@settings(max_examples=600, deadline=None)
@given(names, st.data())
def test_one_field_of_the_signed_text_changed_and_written_canonically(name: str, data: st.DataObject) -> None:
    fields = ENVELOPES[name].to_dict()
    content = json.loads(fields["text"])
    path = data.draw(st.sampled_from(list(_paths(content))))
    before = _get(content, path)
    after = data.draw(json_values | _near(before))
    assume(json.dumps(after) != json.dumps(before))
    _set(content, path, after)
    fields["text"] = json.dumps(content, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    assert must_refuse(json.dumps(fields), ENVELOPES[name])


@settings(max_examples=600, deadline=None)
@given(names, st.data())
def test_one_field_of_the_envelope_changed_or_gone(name: str, data: st.DataObject) -> None:
    fields = ENVELOPES[name].to_dict()
    path = data.draw(st.sampled_from(list(_paths(fields))))
    before = _get(fields, path)
    after = data.draw(json_values | _near(before))
    assume(after != before and not (name == "tombstone" and path == ("node_signature",) and after is None))
    _set(fields, path, after)
    must_refuse(json.dumps(fields), ENVELOPES[name])
    if len(path) == 1:
        del fields[path[0]]
        must_refuse(json.dumps(fields), ENVELOPES[name])


@settings(max_examples=300, deadline=None)
@given(names, names, st.data())
def test_parts_of_two_envelopes_mixed(one: str, two: str, data: st.DataObject) -> None:
    assume(one != two)
    fields, other = ENVELOPES[one].to_dict(), ENVELOPES[two].to_dict()
    shared = sorted(name for name in fields if name in other and fields[name] != other[name])
    for name in data.draw(st.lists(st.sampled_from(shared), min_size=1, unique=True)):
        fields[name] = other[name]
    mixed = json.dumps(fields)
    assume(all(Envelope.parse(json.dumps(envelope.to_dict())) != _parsed(mixed) for envelope in ENVELOPES.values()))
    must_refuse(mixed, ENVELOPES[one])


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 64 * 8 - 1), names)
def test_every_bit_of_the_signatures_counts(bit: int, name: str) -> None:
    fields = ENVELOPES[name].to_dict()
    wallet = bytearray.fromhex(fields["signature"][2:])
    wallet[bit // 8] ^= 1 << bit % 8
    assert must_refuse(json.dumps({**fields, "signature": "0x" + wallet.hex()}), ENVELOPES[name])
    if fields.get("node_signature"):
        node = bytearray(base64.urlsafe_b64decode(fields["node_signature"] + "=="))
        node[bit // 8] ^= 1 << bit % 8
        bent = base64.urlsafe_b64encode(node).rstrip(b"=").decode()
        verdict = must_refuse(json.dumps({**fields, "node_signature": bent}), ENVELOPES[name])
        assert verdict and verdict.reason is Reason.BAD_NODE_SIGNATURE


@settings(max_examples=300, deadline=None)
@given(st.text() | st.binary().map(lambda raw: raw.decode("utf-8", "surrogateescape")) | json_values.map(json.dumps))
def test_anything_at_all(raw: str) -> None:
    verdict = Trust(POLICY).consider(raw, NOW)
    assert not verdict.accepted and verdict.reason is Reason.MALFORMED and verdict.kind == ""


def _parsed(raw: str) -> Envelope | None:
    try:
        return Envelope.parse(raw)
    except Refused:
        return None


def _paths(value: Any, path: tuple[Any, ...] = ()) -> Any:
    if path:
        yield path
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _paths(inner, (*path, key))
    elif isinstance(value, list):
        for at, inner in enumerate(value):
            yield from _paths(inner, (*path, at))


def _get(value: Any, path: tuple[Any, ...]) -> Any:
    for step in path:
        value = value[step]
    return value


def _set(value: Any, path: tuple[Any, ...], new: Any) -> None:
    _get(value, path[:-1])[path[-1]] = new


def _near(value: Any) -> st.SearchStrategy[Any]:
    """Values that look like `value` and are not: another type, another case, one more, one less."""
    if isinstance(value, bool):
        return st.sampled_from([int(value), str(value).lower(), not value])
    if isinstance(value, int):
        return st.sampled_from([value + 1, value - 1, float(value), str(value), bool(value), -value])
    if isinstance(value, str):
        return st.sampled_from(
            [value.upper(), value + " ", value[:-1], value + "=", value[::-1], [value], value + "\n"]
        )
    if isinstance(value, list):
        return st.sampled_from([[], value * 2, value[::-1], {}, None])
    return st.sampled_from([{}, [], None, "", [value]])
