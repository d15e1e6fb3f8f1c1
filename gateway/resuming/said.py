"""What a client has been told of one streamed answer so far: all that it takes to go on elsewhere. Pure.

Text is kept as channels of UTF-8: a choice's content, its reasoning, the arguments of its calls. Not here: events as
bytes (events, checked), and what may be asked next (ways).
"""

from __future__ import annotations

from typing import Any

import orjson

from gateway.resuming.events import Parsed, choices_of

Channel = tuple[int | str, ...]  # of a choice by its index: (0, "content"), (0, "tool_calls", 1, "arguments")
TEXTS = ("content", "text")
_TEXT = (str, type(None))
_ENDS_WITHIN_S = 2.0
_USAGE_WITHIN_S = 10.0  # TCP takes 6 s to send for the sixth time what a bad network loses


class Said:
    """`tokens` are events that brought text, as many as tokens with llama-server. `answers` are the choices asked for,
    `counted` whether usage was.

    `exact`: more than plain text was said, or more than one choice: only the same answer again can go on from here.
    """

    __slots__ = (
        "_channels", "_main", "answers", "begun", "counted", "done", "exact", "finishes", "ids", "shape", "tokens",
        "usage",
    )  # fmt: skip

    def __init__(self, answers: int = 1, counted: bool = False) -> None:
        self.answers = answers
        self.counted = counted
        self.tokens = 0
        self.done = False
        self.exact = answers > 1
        self.usage = False
        self.begun: dict[int, bool] = {}  # choices, and whether a role was told of each
        self.finishes: dict[int, str] = {}
        self.ids: dict[Channel, str] = {}  # of tool calls: an engine draws them at random
        self.shape: Parsed = {}  # of the first event: its id, its time, its model
        self._main = bytearray()
        self._channels: dict[Channel, bytearray] = {}

    def __repr__(self) -> str:
        return f"<Said {self.tokens} tokens{' done' if self.done else ' finished' if self.finished else ''}>"

    @property
    def main(self) -> bytearray:
        """The text of the first choice, to be added to."""
        return self._main

    @property
    def text(self) -> str:
        return self._main.decode()

    @property
    def anything(self) -> bool:
        """Whether there is anything to go on from, a role aside."""
        return bool(self._main or self._channels or self.finishes)

    @property
    def finished(self) -> bool:
        """Whether each choice has come to its end."""
        return self.done or len(self.finishes) >= self.answers

    @property
    def ends_within_s(self) -> float:
        """How long what is missing of a finished stream is worth waiting for: the mark of the end, usage before it."""
        return _USAGE_WITHIN_S if self.counted and not (self.usage or self.done) else _ENDS_WITHIN_S

    @property
    def may_be_done(self) -> bool:
        """Whether the mark of the end may be believed. An engine that knows nothing of `n` gives one choice only."""
        return bool(self.finishes) and self.begun.keys() <= self.finishes.keys()

    def of(self, channel: Channel) -> bytes | bytearray:
        if channel[0] == 0 and channel[1] in TEXTS:
            return self._main
        return self._channels.get(channel, b"")

    def channels(self, index: int) -> list[Channel]:
        """Of one choice, as far as they hold anything."""
        found = [channel for channel in self._channels if channel[0] == index]
        return [(0, TEXTS[0]), *found] if index == 0 and self._main else found

    def take(self, parsed: Parsed) -> None:
        """One more event has been told. Raises BadUpstream for one of another shape."""
        if not self.shape and "id" in parsed:
            self.shape = {name: parsed[name] for name in ("id", "object", "created", "model") if name in parsed}
        before = self.tokens
        for index, choice, delta in choices_of(parsed):
            self.begun.setdefault(index, False)
            self.exact = self.exact or index > 0
            if self._take_delta(index, delta):
                self.tokens = before + 1
            plain = isinstance(delta.get("content"), _TEXT) and isinstance(delta.get("text"), _TEXT)
            if choice.get("logprobs") is not None or not plain:
                self.exact = True
            finish = choice.get("finish_reason")
            if finish is not None:
                self.finishes[index] = str(finish)
        if parsed.get("usage") is not None and self.finishes:
            self.usage = True  # before that it is a running count, of which there are more to come

    def _take_delta(self, index: int, delta: Parsed) -> bool:
        told = False
        for channel, text in texts_of(index, delta):
            self._add(channel, text)
            told = told or bool(text)
        for channel, name in ids_of(index, delta):
            self.ids[channel] = name
        if "role" in delta:
            self.begun[index] = True
        return told

    def _add(self, channel: Channel, text: str) -> None:
        if channel[0] == 0 and channel[1] in TEXTS:
            self._main += text.encode()
            return
        self.exact = True
        self._channels.setdefault(channel, bytearray()).extend(text.encode())


def texts_of(index: int, delta: Parsed) -> list[tuple[Channel, str]]:
    """The texts that a delta brings, by channel; what is no text counts as its JSON."""
    found: list[tuple[Channel, str]] = []
    for name, value in delta.items():
        if name == "role" or value is None or value == "":
            continue
        if name == "tool_calls" and isinstance(value, list):
            found += _calls(index, value)
        else:
            found.append(((index, name), value if isinstance(value, str) else orjson.dumps(value).decode()))
    return found


def ids_of(index: int, delta: Parsed) -> list[tuple[Channel, str]]:
    """The ids of the calls that a delta begins."""
    calls = delta.get("tool_calls")
    if not isinstance(calls, list):
        return []
    return [
        ((index, "tool_calls", place_of(call)), call["id"])
        for call in calls
        if isinstance(call, dict) and call.get("id")
    ]


def _calls(index: int, calls: list[Any]) -> list[tuple[Channel, str]]:
    found: list[tuple[Channel, str]] = []
    for call in calls:
        function = call.get("function") if isinstance(call, dict) else None
        if not isinstance(function, dict):
            continue
        for name in ("name", "arguments"):
            if isinstance(function.get(name), str):
                found.append(((index, "tool_calls", place_of(call), name), function[name]))
    return found


def place_of(call: Parsed) -> int:
    """Which of a choice's calls this is."""
    place = call.get("index", 0)
    return place if isinstance(place, int) else 0
