"""Who may post in an operator's name on the network: its aggregate `security`. Pure.

It is read from signed messages only, or a lying host could make the operator sign somebody else's rights.
Not here: the delegation that readers of adverts believe (signing).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from registry.aleph.messages import POST_TYPE, Message, checksum

__all__ = ["KEY", "Rights", "read_rights"]

KEY = "security"
_TYPES = ("POST", "FORGET")


class Rights:
    """The authorizations in force and the signed time of the message that set them."""

    def __init__(self, entries: Sequence[Any] = (), set_at: float = 0.0) -> None:
        self.entries = list(entries)
        self.set_at = set_at

    def __repr__(self) -> str:
        return f"Rights({len(self.entries)} entries, set_at={self.set_at})"

    def aggregate(self, owner: str) -> dict[str, Any]:
        """What the owner signs to put these in force."""
        content = {"authorizations": self.entries}
        return {"address": checksum(owner), "time": self.set_at, "key": KEY, "content": content}

    def allowing(self, delegate: str, channel: str) -> list[Any] | None:
        """The entries with one more; None if the delegate may do it all already."""
        if any(_grants(entry, delegate, channel) for entry in self.entries):
            return None
        return [*self.entries, _entry(delegate, channel)]

    def disallowing(self, delegates: Iterable[str], channel: str) -> list[Any] | None:
        """The entries without those that `allowing` made; None if there are none."""
        gone = [_entry(delegate, channel) for delegate in delegates]
        left = [entry for entry in self.entries if not any(_same(entry, mine) for mine in gone)]
        return left if len(left) < len(self.entries) else None


def read_rights(messages: Iterable[Message], owner: str) -> Rights:
    """What the owner's own messages say; the latest that has a list counts, as on the nodes."""
    rights = Rights()
    for message in messages:
        content = message.content
        if message.kind != "AGGREGATE" or content is None or content.get("key") != KEY:
            continue
        if message.sender != owner or message.address != owner:
            continue
        inner, moment = content.get("content"), content.get("time")
        entries = inner.get("authorizations") if isinstance(inner, dict) else None
        if isinstance(entries, list) and isinstance(moment, float | int) and moment >= rights.set_at:
            rights = Rights(entries, moment)
    return rights


def _entry(delegate: str, channel: str) -> dict[str, Any]:
    return {"address": checksum(delegate), "types": list(_TYPES), "post_types": [POST_TYPE], "channels": [channel]}


def _grants(entry: Any, delegate: str, channel: str) -> bool:
    """As nodes read it: an empty list allows everything. The address counts letter by letter."""
    if not isinstance(entry, dict) or entry.get("address") != checksum(delegate):
        return False
    needed: Mapping[str, tuple[str, ...]] = {"types": _TYPES, "post_types": (POST_TYPE,), "channels": (channel,)}
    lists = {name: entry.get(name) or [] for name in needed}
    if not all(isinstance(listed, list) for listed in lists.values()):
        return False
    return entry.get("chain") in (None, "", "ETH") and all(
        not lists[name] or set(wanted) <= {item for item in lists[name] if isinstance(item, str)}
        for name, wanted in needed.items()
    )


def _same(entry: Any, mine: Mapping[str, Any]) -> bool:
    """Is it ours, whoever wrote it out, perhaps with empty fields besides?"""
    if not isinstance(entry, dict) or not isinstance(entry.get("address"), str):
        return False
    said = {name: value for name, value in entry.items() if value not in (None, "", [])}
    return {**said, "address": entry["address"].lower()} == {**mine, "address": mine["address"].lower()}
