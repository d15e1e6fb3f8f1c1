"""A node's health as people read it, and as a hostile node would have it."""

from __future__ import annotations

from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st

from node.telemetry.status_page import page, shown

GIB = 2**30
WARM = {
    "state": "ready", "phase": "warm", "warm": True, "starts": 1, "slots": 4, "in_flight": 1, "waiting": 2, "loads": 3,
    "unloads": 2, "tokens_per_s": 141.25, "cache_hit_ratio": 0.874,
    "memory": {
        "needed": {"ram_bytes": 400 * 2**20, "vram_bytes": 0},
        "taken": {"ram_bytes": 412 * 2**20, "vram_bytes": 3 * GIB},
    },
}  # fmt: skip
COLD = {**WARM, "state": "new", "phase": "cold", "warm": False, "memory": {**WARM["memory"], "taken": None}}  # type: ignore[dict-item]
COMING = {"done_bytes": 7 * GIB, "total_bytes": 20 * GIB, "bytes_per_s": 100 * 2**20}
HEALTH: dict[str, Any] = {
    "status": "ready",
    "models": {
        "small": WARM,
        "big": {"state": "downloading", "phase": "downloading", "warm": False, "progress": COMING},
        "other": {**COLD, "cache_hit_ratio": None},
        "down": {**WARM, "state": "backoff", "warm": False},
        "lost": {"state": "failed", "phase": "failed", "warm": False},
    },
    "memory": {
        "budget": {"ram_bytes": 14 * GIB, "vram_bytes": 0},
        "set_aside": {"ram_bytes": GIB, "vram_bytes": 0},
        "taken": {"ram_bytes": 412 * 2**20, "vram_bytes": 0},
    },
    "gpus": [
        {"gpu": "0", "name": "NVIDIA H200", "memory_total_bytes": 140 * GIB, "memory_used_bytes": 7 * GIB,
         "utilization_ratio": 0.87, "temperature_celsius": 64, "power_watts": 412.5},
        {"gpu": "1", "name": "NVIDIA H200", "memory_total_bytes": 140 * GIB, "memory_used_bytes": 0,
         "utilization_ratio": None, "temperature_celsius": None, "power_watts": None},
    ],
    "registries": [{"url": "sqlite:///r.db", "state": "posted"}],
}  # fmt: skip
SHOWN = """\
http://127.0.0.1:8801   ready   node KEY

MODEL  STATE                  SLOTS  WAITING  TOKENS/S  CACHE HITS                      MEMORY  LOADS
small  warm                     1/4        2     141.2         87%  412 MiB RAM + 3.0 GiB VRAM      3
big    downloading                -        -         -           -                           -      -
other  cold                     1/4        2     141.2           -           about 400 MiB RAM      3
down   warm (engine backoff)    1/4        2     141.2         87%  412 MiB RAM + 3.0 GiB VRAM      3
lost   failed                     -        -         -           -                           -      -

fetching big: [###.......] 35% of 20.0 GiB, 100 MiB/s, 2 min left

GPU            USE              MEMORY  TEMPERATURE  POWER
0 NVIDIA H200  87%  7.0 GiB of 140 GiB         64 C  412 W
1 NVIDIA H200    -      0 B of 140 GiB            -      -

RAM for models: 412 MiB of 14.0 GiB taken, 1.0 GiB set aside
registry  posted      sqlite:///r.db"""


def test_a_page() -> None:
    assert page(HEALTH, "http://127.0.0.1:8801", "KEY") == SHOWN


def test_a_download_of_which_little_is_known() -> None:
    for progress, said in (
        ({"done_bytes": 3 * 2**20, "total_bytes": None, "bytes_per_s": 0}, "3 MiB"),
        ({"done_bytes": 0, "total_bytes": 10, "bytes_per_s": 0}, "[..........] 0% of 10 B"),
        ({"done_bytes": 10, "total_bytes": 10, "bytes_per_s": 5}, "[##########] 100% of 10 B, 5 B/s"),
        ({"done_bytes": 99, "total_bytes": 10, "bytes_per_s": 5}, "[##########] 100% of 10 B, 5 B/s"),
        ({"done_bytes": "x"}, "-"),
    ):
        assert f"fetching m: {said}" in page({"models": {"m": {"progress": progress}}}, "u", None).splitlines()


def test_a_node_that_has_just_begun() -> None:
    assert page({"status": "starting", "models": {}}, "u", None).splitlines()[0] == "u   starting   node -"


def test_nothing_that_a_stranger_wrote_steers_a_terminal() -> None:
    evil = "\x1b[2J\x1b]0;owned\x07\r\n\x9b31m\u202egpj\u2028\x00"
    said = page({"status": evil, "models": {evil: {"phase": evil}}, "gpus": [{"name": evil}],
                 "registries": [{"url": evil, "state": evil}]}, "u", evil)  # fmt: skip
    assert "owned" in said
    assert all(each.isprintable() for line in said.split("\n") for each in line)
    assert len(said.splitlines()) == len(said.split("\n"))


def test_a_page_is_of_bounded_size() -> None:
    models = {f"{n}" * 100: WARM for n in range(5000)}
    said = page({"status": "x" * 10**6, "models": models, "registries": [{"url": "u" * 10**5}] * 10**4}, "u", None)
    assert len(said.splitlines()) < 1000
    assert max(map(len, said.splitlines())) < 300
    assert "... and 4800 more" in said


def test_short_texts_are_shown_whole() -> None:
    assert (shown("abc"), shown(""), shown(7), shown("x" * 60)) == ("abc", "-", "-", "x" * 45 + "...")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(st.data())
def test_any_json_in_any_place_is_shown_somehow(data: st.DataObject) -> None:
    def twisted(value: Any) -> Any:
        if data.draw(st.integers(0, 9)) == 0:
            return data.draw(JSON)
        if isinstance(value, dict):
            return {name: twisted(each) for name, each in value.items()}
        return [twisted(each) for each in value] if isinstance(value, list) else value

    health = orjson.loads(orjson.dumps({name: twisted(each) for name, each in HEALTH.items()}))
    said = page(health, "u", None)
    assert all(each.isprintable() for line in said.split("\n") for each in line)
