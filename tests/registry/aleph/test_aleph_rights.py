"""Who may post in an operator's name: edited from what the operator signed, and from nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from registry.aleph.messages import Message, checksum
from registry.aleph.rights import Rights, read_rights

OWNER, DELEGATE, OTHER = ("0x" + digit * 40 for digit in "abc")
OURS = {
    "address": checksum(DELEGATE),
    "types": ["POST", "FORGET"],
    "post_types": ["waypost"],
    "channels": ["WAYPOST"],
}
FOREIGN = [
    {"address": OTHER, "types": ["STORE"]},
    "nonsense",
    None,
    {"address": checksum(DELEGATE), "types": ["STORE"]},
]


def aggregate(entries: Any, time: Any = 1.0, **changes: Any) -> Message:
    content = {"address": checksum(OWNER), "key": "security", "content": {"authorizations": entries}, "time": time}
    fields: dict[str, Any] = {"kind": "AGGREGATE", "sender": OWNER, "item_hash": "", "content": content, "key": b""}
    return Message(**{**fields, **changes})


def test_one_entry_is_added_and_the_others_stay() -> None:
    assert Rights(FOREIGN).allowing(DELEGATE, "WAYPOST") == [*FOREIGN, OURS]


@pytest.mark.parametrize(
    "entry",
    [
        OURS,
        {**OURS, "chain": "ETH", "aggregate_keys": []},
        {**OURS, "types": ["AGGREGATE", "POST", "FORGET"], "post_types": ["x", "waypost"]},
        {"address": checksum(DELEGATE)},
        {"address": checksum(DELEGATE), "types": [], "channels": None},
    ],
)
def test_nothing_is_written_where_all_is_allowed(entry: Any) -> None:
    assert Rights([*FOREIGN, entry]).allowing(DELEGATE, "WAYPOST") is None


@pytest.mark.parametrize(
    "change",
    [
        {"address": DELEGATE},
        {"types": ["POST"]},
        {"post_types": ["other"]},
        {"channels": ["OTHER"]},
        {"chain": "SOL"},
        {"channels": "WAYPOST"},
        {"types": [["POST"], {}]},
    ],
)
def test_less_than_all_is_not_enough(change: dict[str, Any]) -> None:
    assert Rights([{**OURS, **change}]).allowing(DELEGATE, "WAYPOST") == [{**OURS, **change}, OURS]


def test_only_our_own_entries_are_taken_away() -> None:
    elsewhere = {**OURS, "channels": ["OTHER"]}
    rights = Rights([*FOREIGN, OURS, elsewhere, {**OURS, "address": DELEGATE, "chain": "", "aggregate_keys": []}])
    assert rights.disallowing([DELEGATE], "WAYPOST") == [*FOREIGN, elsewhere]
    assert rights.disallowing([OTHER], "WAYPOST") is None


def test_the_latest_signed_time_counts_in_any_order() -> None:
    messages = [aggregate(["new"], 2.0), aggregate(["old"], 1)]
    for shown in (messages, messages[::-1]):
        found = read_rights(shown, OWNER)
        assert (found.entries, found.set_at) == (["new"], 2.0)


@pytest.mark.parametrize(
    "message",
    [
        aggregate(["evil"], 9.0, sender=OTHER),
        aggregate(["evil"], 9.0, kind="POST"),
        aggregate(["evil"], 9.0, content=None),
        aggregate(["evil"], 9.0, content={**(aggregate([]).content or {}), "address": OTHER}),
        aggregate(["evil"], 9.0, content={**(aggregate([]).content or {}), "key": "other"}),
        aggregate(["evil"], 9.0, content={**(aggregate([]).content or {}), "content": "x"}),
        aggregate("evil", 9.0),
        aggregate(["evil"], "9"),
        aggregate(["evil"], None),
    ],
)
def test_nobody_else_has_a_say(message: Message) -> None:
    assert read_rights([aggregate(["mine"]), message], OWNER).entries == ["mine"]
