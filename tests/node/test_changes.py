"""What another configuration changes: nothing runs here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from node.changes import LIVE, OF_MODELS, RESTART, Changes, changes, in_force
from node.config import NodeConfig

A: dict[str, Any] = {"uri": "/a.gguf"}
B: dict[str, Any] = {"uri": "/b.gguf"}
OUT: dict[str, Any] = {"uri": "openai+http://127.0.0.1:1"}


def config(models: dict[str, dict[str, Any]] | None = None, **options: Any) -> NodeConfig:
    return NodeConfig.model_validate({"models": models or {"a": A, "b": B}, **options})


def between(before: NodeConfig, after: NodeConfig, *touched: str) -> Changes:
    return changes(before, after, frozenset(touched))


def names(*some: str) -> frozenset[str]:
    return frozenset(some)


def test_each_option_of_a_node_has_its_place() -> None:
    assert set(NodeConfig.model_fields) == OF_MODELS | LIVE | RESTART
    assert len(OF_MODELS) + len(LIVE) + len(RESTART) == len(NodeConfig.model_fields)


def test_the_same_again_changes_nothing() -> None:
    made = between(config(), config())
    assert made == Changes()
    assert not made
    assert str(made) == "no changes"


def test_models_come_and_go_and_the_others_are_left_alone() -> None:
    made = between(config({"a": A, "b": B}), config({"b": B, "c": A}))
    assert made == Changes(added=names("c"), removed=names("a"))
    assert str(made) == "added c; removed a"


def test_a_setting_of_the_engine_replaces_the_model() -> None:
    further: dict[str, Any]
    for further in (
        {"uri": "/other.gguf"}, {"uri": "/a.gguf#sha256=" + "0" * 64}, {"context": 4096}, {"flags": ["--no-mmap"]},
        {"start_s": 5}, {"proxy": ["/props"]}, {"gpu_layers": 0}, {"devices": ["CUDA0"]}, {"memory_mib": 100},
    ):  # fmt: skip
        assert between(config(), config({"a": A | further, "b": B})) == Changes(changed=names("a")), further


@pytest.mark.parametrize(
    "further",
    [{"aliases": ["x"]}, {"price": ["usd/call=1"]}, {"load": "demand"}, {"load": "demand", "idle_s": 3}, {"idle_s": 3}],
)
def test_what_no_engine_knows_of_keeps_it(further: dict[str, Any]) -> None:
    assert between(config(), config({"a": A | further, "b": B})) == Changes(relabelled=names("a"))
    with_more = config({"a": A | further | {"context": 512}, "b": B})
    assert between(config(), with_more) == Changes(changed=names("a"))


def test_an_alias_may_move_and_may_take_the_name_of_a_model_that_leaves() -> None:
    moved = between(config({"a": A | {"aliases": ["x"]}, "b": B}), config({"a": A, "b": B | {"aliases": ["x"]}}))
    assert moved == Changes(relabelled=names("a", "b"))
    taken = between(config(), config({"a": A | {"aliases": ["b"]}}))
    assert taken == Changes(removed=names("b"), relabelled=names("a"))
    grown = between(config({"a": A | {"aliases": ["b"]}}), config({"a": A, "b": B}))
    assert grown == Changes(added=names("b"), relabelled=names("a"))


def test_it_does_not_matter_where_a_model_is_named_nor_in_which_order() -> None:
    by_option = NodeConfig(model=("b=/b.gguf", "a=/a.gguf"))
    assert between(config(), by_option) == Changes()
    assert between(config(), NodeConfig(model=("a=/new.gguf",), models=config().models)) == Changes(changed=names("a"))


def test_what_is_written_out_as_it_is_anyhow_changes_nothing() -> None:
    spelled = A | {"kind": "auto", "load": "start", "template": "auto", "aliases": [], "idle_s": 600, "start_s": 600}
    assert between(config(), config({"a": spelled, "b": B})) == Changes()


def test_an_option_of_the_node_touches_the_models_that_have_none_of_their_own() -> None:
    models = {"a": A, "own": B | {"price": ["usd/call=2"], "start_s": 9, "idle_s": 9, "load": "demand"}, "out": OUT}
    before = config(models)
    assert between(before, config(models, price=["usd/call=1"])) == Changes(relabelled=names("a", "out"))
    assert between(before, config(models, idle_s=5)) == Changes(relabelled=names("a"))
    assert between(before, config(models, start_s=5)) == Changes(changed=names("a"))
    for waits in ({"head_s": 5}, {"gap_s": 5}):
        assert between(before, config(models, **waits)) == Changes(changed=names("a", "own", "out"))


def test_another_file_behind_the_same_path_replaces_the_model() -> None:
    assert between(config(), config(), "a") == Changes(changed=names("a"))
    renamed = config({"a": A | {"aliases": ["x"]}, "b": B})
    assert between(config(), renamed, "a") == Changes(changed=names("a"))
    assert between(config(), config({"b": B}), "a") == Changes(removed=names("a"))
    assert between(config({"b": B}), config(), "a") == Changes(added=names("a"))


def test_options_that_count_at_once_and_those_that_need_a_restart_are_told_apart() -> None:
    after = config(listen="127.0.0.1:9", ram_mib=512, access=["open"], log_level="debug", state=Path("/elsewhere"))
    made = between(config(), after)
    assert made == Changes(live=("ram_mib", "log_level"), restart=("listen", "access", "state"))
    assert str(made) == "set log_level, ram_mib"
    assert not between(config(), config(listen="127.0.0.1:9"))


def test_what_needs_a_restart_is_told_again_until_it_is_had_or_taken_back() -> None:
    before, after = config(), config({"a": A}, listen="127.0.0.1:9", ram_mib=512)
    running = in_force(before, after)
    assert (running.listen, running.ram_mib) == (before.listen, 512)
    assert list(running.served()) == ["a"]
    assert between(running, after) == Changes(restart=("listen",))
    assert between(running, in_force(running, after)) == Changes()
