"""Every way in which this node can lie, stall or fall over, and the settings that ask for it. Not here: HTTP.

Lies in what is read (`only` limits the first four to these item hashes):
  lie_content, alter_item_content, break_signature (flags); swap_sender, swap_channel (the value to show);
  reverse_pages, repeat_messages, repeat_pages, endless (flags; endless: pages go round for ever);
  truncate (at most so many messages a page); total (the pagination_total to show);
  withhold_hashes, withhold_senders (lists), withhold_all, withhold_after (messages with a later envelope time).
Bad answers: `answer` is one of Answer, `answer_on` one of Place, `answer_times` limits it to the next N requests.
Lies in files: flip_files (flag: one byte of every raw file is another).
Publishing: pending_next takes the next N messages (peers' too) as pending until the action `settle` decides;
  strict_case compares addresses exactly, as older nodes did.
Sockets: ws_drop_after (closed after N messages), ws_silent, ws_duplicate, ws_garbage (flags), ws_skip (the next N
  messages are not sent); what is withheld, altered or forged in pages is so on sockets too.
"""

from __future__ import annotations

import copy
import json
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict

from tests.fakes.aleph_node.query import Where


class Answer(StrEnum):
    HONEST = ""
    AWAY = "away"  # the connection is cut without a word, sockets too
    STALL = "stall"  # nothing ever comes
    DRIP = "drip"  # a good head, then a space now and then for ever
    HUGE = "huge"  # a JSON body that does not end before 1 GiB
    HTML = "html"
    INVALID_JSON = "invalid_json"
    WRONG_SHAPE = "wrong_shape"
    REDIRECT = "redirect"  # to `redirect_to`
    ERROR = "500"
    BUSY = "429"  # with Retry-After: 1
    UNAVAILABLE = "503"


class Place(StrEnum):
    ALL = "all"
    PAGES = "pages"  # messages.json, posts.json
    MESSAGE = "message"  # one message, or its status
    PUBLISH = "publish"
    SOCKET = "socket"
    OTHER = "other"


class Settings(BaseModel):
    """All misbehaviour; the defaults are an honest node."""

    model_config = ConfigDict(extra="forbid")

    only: list[str] = []
    lie_content: bool = False
    alter_item_content: bool = False
    break_signature: bool = False
    swap_sender: str | None = None
    swap_channel: str | None = None
    reverse_pages: bool = False
    repeat_messages: bool = False
    repeat_pages: bool = False
    endless: bool = False
    truncate: int | None = None
    total: int | None = None
    withhold_hashes: list[str] = []
    withhold_senders: list[str] = []
    withhold_all: bool = False
    withhold_after: float | None = None
    answer: Answer = Answer.HONEST
    answer_on: Place = Place.ALL
    answer_times: int | None = None
    redirect_to: str = "/elsewhere"
    pending_next: int = 0
    strict_case: bool = False
    flip_files: bool = False
    ws_drop_after: int | None = None
    ws_silent: bool = False
    ws_duplicate: bool = False
    ws_garbage: bool = False
    ws_skip: int = 0


class Misbehaviour:
    """Owns the settings; each question may use one of them up."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def change(self, values: dict[str, Any]) -> None:
        """Change some settings; raises ValueError (pydantic's) and changes nothing if one is unknown."""
        self.settings = Settings.model_validate({**self.settings.model_dump(), **values})

    def reset(self) -> None:
        self.settings = Settings()

    def answer(self, place: Place) -> Answer:
        """How to answer this request; counts `answer_times` down."""
        settings = self.settings
        if settings.answer is Answer.HONEST or settings.answer_on not in (Place.ALL, place):
            return Answer.HONEST
        if settings.answer_times is not None:
            if settings.answer_times <= 0:
                return Answer.HONEST
            settings.answer_times -= 1
        return settings.answer

    def takes_as_pending(self) -> bool:
        taken = self.settings.pending_next > 0
        self.settings.pending_next -= taken
        return taken

    def skips(self) -> bool:
        skipped = self.settings.ws_skip > 0
        self.settings.ws_skip -= skipped
        return skipped

    def withheld(self) -> Where | None:
        """The condition for what readers do not get to see."""
        settings, parts, args = self.settings, list[str](), list[object]()
        for column, names in (("item_hash", settings.withhold_hashes), ("sender", settings.withhold_senders)):
            if names:
                parts.append(f"{column} IN ({','.join('?' * len(names))})")
                args += names
        if settings.withhold_after is not None:
            parts.append("time > ?")
            args.append(settings.withhold_after)
        if settings.withhold_all:
            parts.append("1")
        return Where(" OR ".join(parts), tuple(args), "seq") if parts else None

    def withholds(self, message: dict[str, Any]) -> bool:
        settings = self.settings
        late = settings.withhold_after is not None and message["time"] > settings.withhold_after
        named = message["item_hash"] in settings.withhold_hashes or message["sender"] in settings.withhold_senders
        return settings.withhold_all or late or named

    def page(self, page: int, pages: int) -> int:
        """The page to show for the page that was asked for."""
        if self.settings.repeat_pages:
            page = (page + 1) // 2
        return (page - 1) % max(pages, 1) + 1 if self.settings.endless else page

    def messages(self, messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """A page of messages as this node shows it."""
        shown = [self.forge(message) for message in messages][: self.settings.truncate]
        if self.settings.repeat_messages:
            shown = [each for message in shown for each in (message, message)]
        return shown[::-1] if self.settings.reverse_pages else shown

    def bytes_to_send(self, content: bytes) -> bytes:
        """A file as this node sends it."""
        return content[:-1] + bytes([content[-1] ^ 1]) if self.settings.flip_files and content else content

    def forge(self, message: dict[str, Any]) -> dict[str, Any]:
        """One message as this node shows it."""
        settings = self.settings
        if settings.only and message["item_hash"] not in settings.only:
            return message
        forged = copy.deepcopy(message)
        if settings.lie_content and "content" in forged:
            forged["content"]["content"] = {"forged": True}
        if settings.alter_item_content and forged["item_content"]:
            text = forged["item_content"]
            forged["item_content"] = text[:-1] + ',"forged":true}'
            forged["content"] = json.loads(forged["item_content"])
        if settings.break_signature:
            signature = forged["signature"]
            forged["signature"] = signature[:10] + ("0" if signature[10] != "0" else "1") + signature[11:]
        for field, value in (("sender", settings.swap_sender), ("channel", settings.swap_channel)):
            if value is not None:
                forged[field] = value
        return forged
