"""Registry URLs of the Aleph network: one spelling each, and a fix for every fault."""

from __future__ import annotations

import pytest

from registry.aleph.url import parse_place


@pytest.mark.parametrize(
    ("url", "origin", "board"),
    [
        ("aleph+https://api.aleph.example", "https://api.aleph.example", "aleph:WAYPOST"),
        ("aleph+https://API.aleph.example/", "https://api.aleph.example", "aleph:WAYPOST"),
        ("aleph+https://h.example?channel=TEST-1", "https://h.example", "aleph:TEST-1"),
        ("aleph+http://127.0.0.1:4024/?channel=a.b_c", "http://127.0.0.1:4024", "aleph:a.b_c"),
        ("aleph+http://[::1]:4024", "http://[::1]:4024", "aleph:WAYPOST"),
        ("aleph+http://10.0.0.1", "http://10.0.0.1", "aleph:WAYPOST"),
        ("aleph+http://node-1.", "http://node-1.", "aleph:WAYPOST"),
    ],
)
def test_a_place(url: str, origin: str, board: str) -> None:
    place = parse_place(url)
    assert (place.origin, place.board) == (origin, board)
    assert parse_place(place.url) == place


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("aleph+https://", "aleph\\+https://HOST"),
        ("aleph+ftp://h.example", "aleph\\+https://HOST"),
        ("https://h.example", "aleph\\+https://HOST"),
        ("aleph+https://h.example:99999", "aleph\\+https://HOST"),
        ("aleph+https://h ost.example", "aleph\\+https://HOST"),
        ("aleph+http://h.example:0", "aleph\\+https://HOST"),
        ("aleph+http://a..b", "'a..b' is not the name or the address of a host"),
        ("aleph+http://.a", "not the name"),
        ("aleph+http://-a.example", "not the name"),
        (f"aleph+http://{'a' * 64}.example", "not the name"),
        (f"aleph+http://{'a.' * 130}example", "not the name"),
        ("aleph+http://b\u00fccher.example", "not the name"),
        ("aleph+http://[::1%25eth0]", "not the name"),
        ("aleph+https://h.example?channel", "aleph\\+https://HOST"),
        ("aleph+https://h.example/api/v0", "leave out the path"),
        ("aleph+https://h.example#x", "leave out the path"),
        ("aleph+https://h.example?chanel=X", "channel=NAME, not chanel"),
        ("aleph+https://h.example?channel=A&channel=B", "twice"),
        ("aleph+https://h.example?channel=", "the channel ''"),
        ("aleph+https://h.example?channel=A,B", "the channel 'A,B'"),
        ("aleph+https://h.example?channel=A%0AB", "the channel"),
    ],
)
def test_a_fault_names_its_fix(url: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        parse_place(url)


@pytest.mark.parametrize(
    "url",
    [
        "aleph+https://me:hunter2@h.example",
        "aleph+http://me:hunter2@h:99999",
        "aleph+http://hunter2@",
        "aleph+http://me:hun/ter2#hunter2?hunter2@h",
        "aleph+http:me:hunter2@h",
        "aleph+http://me:hunter2@x@h",
        "aleph+http://me:hunter2@[::1",
        "aleph+http://12?channel=hunter2@h",
    ],
)
def test_a_password_is_not_said_again(url: str) -> None:
    with pytest.raises(ValueError, match="leave them out") as caught:
        parse_place(url)
    assert "hunter2" not in str(caught.value) and caught.value.__context__ is None
