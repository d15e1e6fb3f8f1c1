"""Who may call: gateways by their token, holders of keys, anybody or nobody."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import jwt
import pytest

from node.access import Access, AccessError, network
from registry.keys import NodeKey
from relay.errors import Forbidden, Unauthorized

NODE = NodeKey.new().public
GATEWAY = NodeKey.new()
NOW = 1_800_000_000


def token(key: NodeKey = GATEWAY, algorithm: str = "EdDSA", **changed: Any) -> str:
    claims = {"iss": GATEWAY.public, "aud": NODE, "iat": NOW, "exp": NOW + 60, **changed}
    return jwt.encode({k: v for k, v in claims.items() if v is not None}, key.private, algorithm=algorithm)


def access(*entries: str, now: float = NOW) -> Access:
    return Access(entries or (GATEWAY.public,), NODE, lambda: now)


def shown(text: str) -> dict[str, str]:
    return {"X-Waypost-Token": text}


def test_a_gateway_on_the_list_may_call() -> None:
    checked = access()
    assert checked.caller(shown(token())).gateway == GATEWAY.public
    assert checked.caller(shown(token())).gateway == GATEWAY.public
    assert "tokens=1" in repr(checked)


def test_clocks_may_differ_by_two_minutes_and_no_more() -> None:
    for now in (NOW - 120, NOW + 60 + 120):
        assert access(now=now).caller(shown(token())).gateway
    for now in (NOW - 121, NOW + 60 + 121):
        with pytest.raises(Unauthorized):
            access(now=now).caller(shown(token()))


def test_a_kept_token_ends_in_time() -> None:
    clock = [float(NOW)]
    checked = Access((GATEWAY.public,), NODE, lambda: clock[0])
    text = token()
    assert checked.caller(shown(text)).gateway
    clock[0] = NOW + 181
    with pytest.raises(Unauthorized):
        checked.caller(shown(text))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x.y.z",
        "[" * 1000,
        token(key=NodeKey.new()),
        token(aud=NodeKey.new().public),
        token(aud=None),
        token(aud=[NODE]),
        token(iss=None),
        "tok\udcff\u00e9n",
        token() + "\udcff",
        token(iat=None),
        token(exp=None),
        token(exp=NOW + 61),
        token(exp=NOW - 1),
        token(iat="now"),
        token(iat=True),
        token(iss="nobody"),
        jwt.encode({"iss": GATEWAY.public, "aud": NODE, "iat": NOW, "exp": NOW + 60}, "", algorithm="none"),
        jwt.encode({"iss": GATEWAY.public, "aud": NODE, "iat": NOW, "exp": NOW + 60}, GATEWAY.public * 2, "HS256"),
    ],
)
def test_a_token_that_is_not_right_in_everything_is_401(text: str) -> None:
    with pytest.raises(Unauthorized):
        access().caller(shown(text))


def test_a_good_token_of_another_gateway_is_403() -> None:
    other = NodeKey.new()
    with pytest.raises(Forbidden):
        access().caller(shown(token(key=other, iss=other.public)))


def test_kept_tokens_are_bounded() -> None:
    checked = access("open")
    for second in range(1100):
        checked.caller(shown(token(iat=NOW - 100 + second % 50, exp=NOW - 45 + second % 50, jti=str(second))))
    assert len(checked._verified) <= 1024


def test_an_open_node_still_knows_gateways_from_others() -> None:
    assert access("open").caller({}).gateway is None
    assert access("open").caller(shown("nonsense")).gateway is None
    assert access("open").caller(shown(token())).gateway == GATEWAY.public


def test_own_keys_stand_in_a_file_plain_or_hashed(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(f"# ours\nplain-key\n\nsha256:{hashlib.sha256(b'hashed-key').hexdigest()}\n")
    checked = access(f"keys:{file}", GATEWAY.public)
    for key in ("plain-key", "hashed-key"):  # shown as by clients of OpenAI, and of Anthropic
        for headers in (
            {"Authorization": f"Bearer {key}"},
            {"X-Api-Key": key},
        ):
            assert checked.caller(headers).gateway is None
    assert checked.caller(shown(token())).gateway
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic plain-key"}, shown("x"),
                    {"Authorization": "Bearer \udcff"}, {"X-Api-Key": "wrong"}, {"X-Api-Key": "\udcff"},
                    {"X-Api-Key": ""}, {"Authorization": "Bearer wrong", "X-Api-Key": "plain-key"}):  # fmt: skip
        with pytest.raises(Unauthorized):
            checked.caller(headers)


@pytest.mark.parametrize(
    ("content", "fix"),
    [("", "holds no key"), ("two words\n", "neither a key"), ("sha256:abc\n", "64 hex"), (None, "cannot be read")],
)
def test_a_file_of_keys_that_is_none_is_refused(tmp_path: Path, content: str | None, fix: str) -> None:
    file = tmp_path / "keys"
    if content is not None:
        file.write_text(content)
    with pytest.raises(AccessError, match=fix):
        access(f"keys:{file}")


def test_a_gateway_key_that_is_none_is_refused() -> None:
    with pytest.raises(AccessError, match="no gateway's key"):
        access("B" * 43)


def test_a_gateway_on_the_list_is_one_caller_wherever_it_calls_from() -> None:
    checked = access()
    assert checked.caller(shown(token()), "10.0.0.1").share == checked.caller(shown(token()), "10.0.0.2").share


def test_each_key_of_the_node_s_own_is_one_caller(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("one\ntwo\n")
    checked = access(f"keys:{tmp_path}/keys")
    shares = {checked.caller({"Authorization": f"Bearer {key}"}, peer).share for key in ("one", "two") for peer in "ab"}
    assert len(shares) == 2
    assert "one" not in str(shares)


def test_where_keys_cost_nothing_they_make_nobody_another_address() -> None:
    checked = access("open")
    other = NodeKey.new()
    shares = [
        checked.caller(headers, "10.0.0.1").share
        for headers in ({}, shown(token()), shown(token(key=other, iss=other.public)))
    ]
    assert len(set(shares)) == 3
    assert {share[0] for share in shares} == {"10.0.0.1"}


@pytest.mark.parametrize("name", ["X-Forwarded-For", "Forwarded", "X-Real-IP", "X-Waypost-Model", "Authorization"])
def test_no_header_says_who_somebody_is(name: str) -> None:
    assert access("open").caller({name: "10.9.9.9"}, "10.0.0.1").share == ("10.0.0.1", "")


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8:0:1::1", "2001:db8:0:1:ffff::2", True),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
        ("::ffff:10.0.0.1", "10.0.0.1", True),
        ("fe80::1%eth0", "fe80::2%eth0", True),
        ("10.0.0.1", "10.0.0.2", False),
        ("", "", True),
        ("no:address", "no:address", True),
    ],
)
def test_of_ipv6_one_host_has_a_whole_network(one: str, other: str, same: bool) -> None:
    assert (network(one) == network(other)) is same
