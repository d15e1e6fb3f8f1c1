"""Time limits: the gateway's and each model's, from the options to what holds, and the counts of those that fired."""

from __future__ import annotations

from dataclasses import astuple, fields
from pathlib import Path
from typing import Any

import pytest

import waypost
from gateway.config import GatewayConfig, ModelLimits
from gateway.limits import FIRED, LimitsOf, fired
from gateway.metrics import Metrics
from gateway.workers.counts import added, lasting, part, text
from relay.configuring import OptionError, Sources
from relay.errors import ApiError, ConnectFailed, TooManyRequests, UpstreamTimeout, from_upstream
from relay.limits import Limits

BARE: dict[str, Any] = {"registry": ("sqlite:///r.db",), "trust": ("any",)}
TOP = '[gateway]\nregistry = ["sqlite:///r.db"]\ntrust = ["any"]\n'


def config(folder: Path, toml: str, **variables: str) -> GatewayConfig:
    """As `waypost gateway serve` reads it in a folder with this `waypost.toml`. Raises OptionError."""
    (folder / "waypost.toml").write_text(TOP + toml)
    read = Sources("gateway", GatewayConfig, {}, variables, waypost._known_options, ("gateway",), folder).read()
    assert isinstance(read, GatewayConfig)
    return read


def problem(folder: Path, toml: str) -> str:
    with pytest.raises(OptionError) as refused:
        config(folder, toml)
    assert len(refused.value.problems) == 1
    return refused.value.problems[0]


def test_the_options_defaults_are_those_of_the_limits() -> None:
    assert LimitsOf(GatewayConfig(**BARE)).of("any") == Limits()


def test_each_limit_can_be_set_for_all_models_and_for_one() -> None:
    assert (
        ModelLimits.model_fields.keys()
        == {field.name for field in fields(Limits)}
        == {f"{n}_s" for n in FIRED.values()}
    )
    for number, field in enumerate(fields(Limits)):
        made = GatewayConfig(**BARE, **{field.name: 7.0}, limits={"m": {field.name: 8.0}})
        usual, own = list(astuple(Limits())), list(astuple(Limits()))
        usual[number], own[number] = 7.0, 8.0
        limits = LimitsOf(made)
        assert (limits.of("other"), limits.of("m")) == (Limits(*usual), Limits(*own))


def test_what_a_models_table_leaves_out_is_as_for_all(tmp_path: Path) -> None:
    toml = 'head_s = 60\n[gateway.limits."org/m.5:q4"]\ngap_s = 1.5\nqueue_s = 0\n[gateway.limits.plain]\n'
    limits = LimitsOf(config(tmp_path, toml, WAYPOST_FIRST_TOKEN_S="20"))
    assert limits.of("plain") == limits.of("other") == Limits(head_s=60, first_token_s=20)
    assert limits.of("org/m.5:q4") == Limits(head_s=60, first_token_s=20, gap_s=1.5, queue_s=0)


def test_a_table_counts_for_the_advertised_name_alone() -> None:
    limits = LimitsOf(GatewayConfig(**BARE, limits={"model": {"head_s": 1}}))
    assert limits.of("model").head_s == 1
    for other in ("model@2f6e4a1c", "alias", "MODEL", "model-2", ""):
        assert limits.of(other) == Limits(), other


def test_workers_get_the_same_limits_and_fallbacks(tmp_path: Path) -> None:
    toml = (
        'fallback = ["a=b,c"]\nresume = "replay"\nkeepalive_s = 15\n'
        '[gateway.limits."org/m.5"]\nhead_s = 7\nqueue_s = 0\n[gateway.limits.b]\nfirst_token_s = 0.25\n'
    )
    ours = config(tmp_path, toml)
    theirs = GatewayConfig.model_validate_json(ours.model_dump_json())
    assert theirs == ours
    assert repr(LimitsOf(theirs)) == repr(LimitsOf(ours))


@pytest.mark.parametrize(
    ("toml", "said"),
    [
        ('[gateway.limits."org/m.5"]\nhead = 5', "[gateway] limits.org/m.5.head: no such option"),
        ("[gateway.limits.m]\nkeepalive_s = 5", "[gateway] limits.m.keepalive_s: no such option"),
        ("[gateway.limits]\nhead_s = 5", "[gateway] limits: head_s is no table; put limits below [gateway.limits."),
        ("[gateway.limits]\nm = 5", "[gateway] limits: m is no table; put"),
        ("limits = 5", "[gateway] limits: "),
        ("[[gateway.limits]]\nm.head_s = 5", "[gateway] limits: "),
        ('[gateway.limits."m@2f6e4a1c"]\nhead_s = 5', "[gateway] limits: 'm@2f6e4a1c' is no name of a model; take one"),
        ('[gateway.limits.""]\nhead_s = 5', "[gateway] limits: '' is no name of a model;"),
        ("[gateway.limits.m]\nhead_s = 0", "[gateway] limits.m.head_s: "),
        ("[gateway.limits.m]\nqueue_s = -1", "[gateway] limits.m.queue_s: "),
        ("[gateway.limits.m]\nhead_s = inf", "[gateway] limits.m.head_s: "),
        ("[gateway.limits.m]\nhead_s = nan", "[gateway] limits.m.head_s: "),
        ("[gateway.limits.m]\nhead_s = true", "[gateway] limits.m.head_s: "),
        ('[gateway.limits.m]\nhead_s = "5"', "[gateway] limits.m.head_s: "),
        ("head_s = inf", "--head-s: "),
        ("first_token_s = 0", "--first-token-s: "),
        ("queue_s = -0.5", "--queue-s: "),
        ("keepalive_s = 0.5", "--keepalive-s: comments more often than each second"),
        ("keepalive_s = -1", "--keepalive-s: "),
        ('resume = "on"', "--resume: "),
    ],
)
def test_a_wrong_limit_gets_one_line_that_names_it(tmp_path: Path, toml: str, said: str) -> None:
    assert problem(tmp_path, toml).startswith(said)


@pytest.mark.parametrize("keepalive_s", [0, 1, 15.5])
def test_a_keepalive_is_off_or_a_second_at_least(keepalive_s: float) -> None:
    assert GatewayConfig(**BARE, keepalive_s=keepalive_s).keepalive_s == keepalive_s


@pytest.mark.parametrize(
    ("error", "limit"),
    [
        (ConnectFailed("", code="connect_timeout"), "connect"),
        (ConnectFailed("", code="connect_failed"), None),
        (UpstreamTimeout("", code="head_timeout"), "head"),
        (UpstreamTimeout("", code="first_token_timeout"), "first_token"),
        (UpstreamTimeout("", code="gap_timeout"), "gap"),
        (TooManyRequests("", code="queue_timeout"), "queue"),
        (UpstreamTimeout(""), None),
        (from_upstream(504, b'{"error": {"message": "mine", "code": "head_timeout"}}', None), None),
    ],
    ids=repr,
)
def test_a_limit_is_told_from_a_failure_and_ours_from_a_nodes(error: ApiError, limit: str | None) -> None:
    assert fired(error) == limit


def test_what_fired_and_what_was_resumed_is_counted_over_all_workers() -> None:
    first, second = Metrics(), Metrics()
    first.fired("gap")
    for metrics in (first, second):
        metrics.fired("head")
        metrics.resumed("replay", whole=True)
    second.resumed("continue", whole=False)
    ended = lasting(part(first.collect()))  # of a worker that is gone
    lines = text(added([ended, part(second.collect())])).decode().splitlines()
    assert {line for line in lines if line.startswith(("waypost_gateway_limits", "waypost_gateway_resumes"))} == {
        'waypost_gateway_limits_fired_total{limit="gap"} 1.0',
        'waypost_gateway_limits_fired_total{limit="head"} 2.0',
        'waypost_gateway_resumes_total{outcome="whole",way="replay"} 2.0',
        'waypost_gateway_resumes_total{outcome="failed",way="continue"} 1.0',
    }
