"""The postings on a channel: all of them by pages, then each new one from a socket. Believes only signatures.

Not here: HTTP (host), paging (walk), what makes a message honest (messages).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Container, Mapping, Sequence
from itertools import islice
from typing import Any

import aiohttp

from registry.aleph.host import Host, TooMuch
from registry.aleph.messages import POST_TYPE, Forged, Message, claimed_key, posting, verify
from registry.aleph.walk import PAGE, Endless, Walk
from registry.answers import read_json

__all__ = ["Reader"]

MAX_KNOWN = 500_000  # messages remembered, 16 bytes of each one's hash
LOOK = 32  # messages looked at
MAX_LOOKS = 50  # pages of them, if all are new
MAX_ENTRIES = 5 * PAGE  # on one page; nodes show no more than they are asked for
SKEW_S = 900.0  # how far a sender's clock may be off and its message still be found after a reconnect
AHEAD_S = 120.0  # messages from further ahead would stand at the top for long and hide what is new
_TURN = 20  # verified in one turn of the loop

_MESSAGES = "/api/v0/messages.json"
_SOCKET = "/api/ws0/messages"

log = logging.getLogger("waypost.registry")


class Reader:
    """One channel of one node. `faults` counts what the node showed and nobody can have sent."""

    def __init__(self, host: Host, clock: Callable[[], float] = time.time) -> None:
        self.faults = 0
        self._host = host
        self._clock = clock
        self._known: dict[bytes, None] = {}  # in the order of their coming
        self._read_until = 0.0  # what was posted before is known, but for senders whose clock is off

    def __repr__(self) -> str:
        return f"Reader({self._host!r}, known={len(self._known)}, faults={self.faults})"

    async def fetch(self) -> AsyncIterator[list[str]]:
        """All postings, oldest first; afterwards they are known to `watch`."""
        known: dict[bytes, None] = {}
        began = self._clock()
        async for page in self.walk(self._postings):
            known |= dict.fromkeys(message.key for message in page)
            if texts := _texts(page):
                yield texts
        self._known, self._read_until = known, began
        self._bound()

    async def watch(self) -> AsyncIterator[str]:
        """What is posted after the last whole fetch, once each. Raises Unreachable when the socket ends."""
        ticks = asyncio.get_running_loop().time
        async with self._host.listen(_SOCKET, {**self._postings, "msgType": "POST", "history": "1"}) as socket:
            frame = asyncio.ensure_future(socket.receive())
            try:
                began = self._clock()
                async for page in self.walk(self._postings, self._read_until - SKEW_S, self._known):
                    for text in self._new(page):
                        yield text
                self._read_until, due = began, ticks() + self._host.limits.first_look_s
                while True:
                    await asyncio.wait((frame,), timeout=max(due - ticks(), 0.0))
                    page = []
                    if frame.done():
                        page = self._sent(frame)
                        frame = asyncio.ensure_future(socket.receive())
                    if ticks() >= due:
                        page += await self._look()
                        due = ticks() + self._host.limits.look_every_s
                    for text in self._new(page):
                        yield text
            finally:
                frame.cancel()

    def fault(self, forged: Forged) -> None:
        """Take note of a false message; said aloud once."""
        self.faults += 1
        level = logging.WARNING if self.faults == 1 else logging.DEBUG
        log.log(level, "registry %s shows false messages (%d): %s", self._host.place.url, self.faults, forged)

    async def any_posting(self) -> bool:
        """Has anything been posted on the channel?"""
        async for page in self.walk(self._postings):
            if _texts(page):
                return True
        return False

    async def walk(
        self, filters: Mapping[str, str], start: float = 0.0, known: Container[bytes] = ()
    ) -> AsyncIterator[list[Message]]:
        """Verified messages that pass `filters` on the host, once each, oldest first, page by page.

        `start` is a time in Unix seconds; what is `known` is left out, and not verified again. Raises Unreachable.
        """
        walk, seen = Walk(start), set[bytes]()
        while True:
            try:
                entries, per_page = await self._page({**filters, **walk.params})
            except TooMuch:
                if walk.shrink():
                    continue
                raise
            page = await self._verified(entries, seen, known)
            claimed = {key for entry in entries if (key := claimed_key(entry)) is not None}
            familiar = {key for key in claimed if key in known and key not in seen}
            seen.update(familiar, (message.key for message in page))
            yield page
            try:
                times = [_field(entry, "time") for entry in entries]
                if not walk.advance(times, bool(page), per_page, bool(familiar)):
                    return
            except Endless as error:
                raise self._host.unreachable(str(error)) from error

    @property
    def _postings(self) -> dict[str, str]:
        return {
            "msgTypes": "POST",
            "contentTypes": POST_TYPE,
            "channels": self._host.place.channel,
            "chains": "ETH",
            "excludeContent": "true",  # the node's own reading of item_content, which is not read here
        }

    async def _page(self, params: Mapping[str, str]) -> tuple[Sequence[Any], object]:
        answer = await self._host.get(_MESSAGES, params)
        entries = _field(answer, "messages")
        if not isinstance(entries, list):
            raise self._host.unreachable(f"answered no list of messages to {_MESSAGES}; is it an Aleph node?")
        if len(entries) > MAX_ENTRIES:
            raise self._host.unreachable(f"showed {len(entries)} messages on one page; is it an Aleph node?")
        return entries, _field(answer, "pagination_per_page")

    async def _verified(self, entries: Sequence[Any], *seen: Container[bytes]) -> list[Message]:
        """Those that are honest and not in `seen`; the loop is given back in between."""
        page: dict[bytes, Message] = {}
        for number, entry in enumerate(entries, 1):
            claimed = claimed_key(entry)
            if not any(claimed in keys for keys in (page, *seen)) and (message := self._believe(entry)):
                page[message.key] = message
            if number % _TURN == 0:
                await asyncio.sleep(0)
        return list(page.values())

    def _believe(self, entry: Any) -> Message | None:
        try:
            return verify(entry)
        except Forged as forged:
            self.fault(forged)
            return None

    async def _look(self) -> list[Message]:
        """What is new at the end of the board, oldest first."""
        began = self._clock()
        found: dict[bytes, Message] = {}
        end = {"endDate": repr(began + AHEAD_S), "sortOrder": "-1", "pagination": str(LOOK)}
        for number in range(1, MAX_LOOKS + 1):
            entries, _ = await self._page({**self._postings, **end, "page": str(number)})
            new = await self._verified(entries, self._known, found)
            found |= {message.key: message for message in new}
            if not new:
                break
        self._read_until = began
        return list(reversed(found.values()))

    def _sent(self, frame: asyncio.Future[aiohttp.WSMessage]) -> list[Message]:
        """The message in a frame, if it is one. Raises Unreachable at the end of the socket."""
        self._host.check_open()
        try:
            sent = frame.result()
            if sent.type is not aiohttp.WSMsgType.TEXT:
                raise self._host.unreachable(f"the socket ended ({sent.extra or sent.data or sent.type.name})")
            message = self._believe(read_json(sent.data))
        except ValueError as error:
            raise self._host.unreachable("sent something else than JSON through the socket") from error
        except (aiohttp.ClientError, OSError, RuntimeError) as error:
            raise self._host.unreachable(f"the socket broke ({error})") from error
        return [] if message is None else [message]

    def _new(self, page: Sequence[Message]) -> list[str]:
        """The texts of those messages that were not known; now they are."""
        new = [message for message in page if message.key not in self._known]
        self._known |= dict.fromkeys(message.key for message in new)
        self._bound()
        return _texts(new)

    def _bound(self) -> None:
        if (count := len(self._known)) > MAX_KNOWN:  # some at once: the front of a dict is slow to remove one by one
            self._known = dict.fromkeys(islice(self._known, count - MAX_KNOWN * 9 // 10, None))


def _texts(page: Sequence[Message]) -> list[str]:
    return [text for message in page if (text := posting(message)) is not None]


def _field(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, dict) else None
