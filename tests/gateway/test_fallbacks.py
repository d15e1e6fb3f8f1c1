"""`--fallback`: what it takes, what it refuses, and which models answer in another one's stead."""

from __future__ import annotations

import re

import pytest

from gateway.fallbacks import Fallbacks, parse_fallbacks
from tests.commands import here

DIGEST = "2f6e4a1c"
SERVE = ["gateway", "serve", "--registry", "sqlite:///r.db", "--trust", "any"]


def test_others_are_asked_in_their_order() -> None:
    assert parse_fallbacks(["a=c,b", f"org/m.5:q4=b@{DIGEST},b@0x{'a' * 40}"]) == {
        "a": ("c", "b"),
        "org/m.5:q4": (f"b@{DIGEST}", f"b@0x{'a' * 40}"),
    }
    assert parse_fallbacks([]) == {}


def test_a_model_has_its_own_or_none() -> None:
    fallbacks = Fallbacks(["a=b,c", "b=d"])
    assert fallbacks.of("a", "a") == ("b", "c")
    assert fallbacks.of("c", "c") == ()
    assert "'b': ('d',)" in repr(fallbacks)
    assert Fallbacks().of("a", "a") == ()


def test_an_alias_and_a_name_with_an_at_have_the_models_unless_they_have_their_own() -> None:
    fallbacks = Fallbacks(["a=b", f"a@{DIGEST}=c", "alias=d"])
    assert fallbacks.of("other-alias", "a") == fallbacks.of("a@0x12", "a") == ("b",)
    assert fallbacks.of(f"a@{DIGEST}", "a") == ("c",)
    assert fallbacks.of("alias", "a") == ("d",)


def test_a_circle_is_taken_and_not_followed() -> None:
    fallbacks = Fallbacks(["a=b", "b=c", "c=a"])
    assert [fallbacks.of(name, name) for name in "abc"] == [("b",), ("c",), ("a",)]


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        (["a"], "'a' names no fallback; write NAME=OTHER,"),
        (["a="], "'a=' names no fallback;"),
        (["=b"], "'=b' names no fallback;"),
        ([""], "'' names no fallback;"),
        (["a=b,"], "'a=b,' names no fallback;"),
        (["a=b,,c"], "'a=b,,c' names no fallback;"),
        (["a=b, c"], "'a=b, c' names no fallback;"),
        (["a=b=c"], "'a=b=c' names no fallback;"),
        (["a=b\n"], "'a=b\\n' names no fallback;"),
        ([f"a={'b' * 129}"], f"'a={'b' * 129}' names no fallback;"),
        (["a=a"], "'a=a': 'a' cannot stand in for itself; drop it"),
        (["a=b,a"], "'a=b,a': 'a' cannot stand in for itself; drop it"),
        (["a=b,c,b"], "'a=b,c,b' names 'b' twice; drop one"),
        (["a=b", "a=c,d"], "'a' has its fallbacks twice; write a=b,c,d"),
    ],
)
def test_what_makes_no_sense_is_refused_with_the_fix(entries: list[str], said: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(said)}"):
        parse_fallbacks(entries)


def test_the_command_names_its_option(capsys: pytest.CaptureFixture[str]) -> None:
    ended = here(capsys, *SERVE, "--fallback", "a=b", "--fallback", "c=c")
    assert (ended.status, ended.out) == (2, "")
    assert ended.err == "waypost: --fallback: 'c=c': 'c' cannot stand in for itself; drop it\n"
