"""What a reader may ask for: the query string of lists and sockets, as SQL and as a test on a live message."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import AliasChoices, BaseModel, BeforeValidator, Field, model_validator

from tests.fakes.aleph_node.message import Message


def _split(value: object) -> object:
    return value.split(",") if isinstance(value, str) else value


Names = Annotated[list[str], BeforeValidator(_split)]


def _names(*aliases: str) -> Any:
    return Field(default_factory=list, validation_alias=AliasChoices(*aliases))


class Query(BaseModel):
    """Filters by pyaleph's names; an empty list is no filter."""

    types: Names = _names("msgTypes")
    only_type: str | None = Field(default=None, validation_alias="msgType")
    content_types: Names = _names("contentTypes")
    content_keys: Names = _names("contentKeys")
    content_hashes: Names = _names("contentHashes")
    addresses: Names = _names("addresses")
    owners: Names = _names("owners")
    channels: Names = _names("channels")
    chains: Names = _names("chains")
    hashes: Names = _names("hashes")
    refs: Names = _names("refs")
    tags: Names = _names("tags")
    start_date: float = Field(default=0, ge=0, validation_alias="startDate")
    end_date: float = Field(default=0, ge=0, validation_alias="endDate")
    sort_by: str = Field(default="time", pattern="^(time|tx-time)$", validation_alias="sortBy")
    sort_order: int = Field(default=-1, ge=-1, le=1, validation_alias="sortOrder")
    exclude_content: bool = Field(default=False, validation_alias="excludeContent")
    pagination: int = Field(default=20, ge=0)
    page: int = Field(default=1, ge=1)
    cursor: str | None = None
    history: int = Field(default=10, ge=0, lt=200)

    @model_validator(mode="after")
    def _dates(self) -> Query:
        if self.start_date and self.end_date and self.end_date < self.start_date:
            raise ValueError("end date cannot be lower than start date.")
        return self

    def matches(self, message: Message) -> bool:
        """A live message on a socket. As in pyaleph, msgTypes, contentKeys and dates only count for the history."""
        pairs = (
            (self.addresses, message.sender),
            (self.owners, message.owner),
            (self.hashes, message.item_hash),
            (self.chains, message.chain),
            (self.channels, message.channel),
            (self.refs, message.ref),
            (self.content_types, message.content_type),
            (self.content_hashes, message.content.get("item_hash")),
        )
        one_type = self.only_type is None or message.type == self.only_type
        return one_type and not self.tags and all(not wanted or value in wanted for wanted, value in pairs)


@dataclass(frozen=True)
class Where:
    """An SQL condition with its arguments, and the order."""

    text: str
    args: tuple[object, ...]
    order: str


def where(query: Query, withheld: Where | None = None) -> Where:
    """The condition for a query; `withheld` says what a lying node leaves out besides."""
    parts, args = ["1"], list[object]()
    for column, wanted in _columns(query):
        if wanted:
            parts.append(f"{column} IN ({','.join('?' * len(wanted))})")
            args += wanted
    for condition, value in (("time >= ?", query.start_date), ("time < ?", query.end_date)):
        if value:
            parts.append(condition)
            args.append(value)
    if query.tags:
        marks = ",".join("?" * len(query.tags))
        tags = "json_each(content, '$.content.tags')"
        parts.append(f"EXISTS (SELECT 1 FROM {tags} WHERE json_each.value IN ({marks}))")
        args += query.tags
    if query.cursor:
        parts.append(f"(time, item_hash) {'<' if query.sort_order == -1 else '>'} (?, ?)")
        args += decode_cursor(query.cursor)
    if withheld is not None:
        parts.append(f"NOT ({withheld.text})")
        args += withheld.args
    way = "DESC" if query.sort_order == -1 else "ASC"
    return Where(" AND ".join(parts), tuple(args), f"time {way}, item_hash {way}")


def _columns(query: Query) -> list[tuple[str, list[str]]]:
    return [
        ("type", query.types),
        ("type", [query.only_type] if query.only_type else []),
        ("content_type", query.content_types),
        ("content_key", query.content_keys),
        ("json_extract(content, '$.item_hash')", query.content_hashes),
        ("sender", query.addresses),
        ("owner", query.owners),
        ("channel", query.channels),
        ("chain", query.chains),
        ("item_hash", query.hashes),
        ("content_ref", query.refs),
    ]


def encode_cursor(time: float, item_hash: str) -> str:
    """Opaque to readers."""
    text = json.dumps({"t": time, "h": item_hash}, separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode_cursor(cursor: str) -> tuple[float, str]:
    """Raises ValueError."""
    try:
        value = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        return float(value["t"]), str(value["h"])
    except (KeyError, TypeError, UnicodeDecodeError) as error:
        raise ValueError("Invalid cursor: missing required fields") from error


def read_query(values: Mapping[str, str]) -> Query:
    """Raises ValueError (pydantic's) for what a node answers 422 to."""
    return Query.model_validate({name: values[name] for name in values})
