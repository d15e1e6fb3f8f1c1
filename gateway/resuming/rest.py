"""The sink for the rest of a broken answer, as another node gives it: what was said is skipped, and nothing else.

What comes again has to agree with what was said, to the byte. Until it has caught up, nothing is passed on. Not here:
which way the rest is asked for (ways).
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Any

from gateway.resuming import events
from gateway.resuming.checked import Checked
from gateway.resuming.events import Parsed
from gateway.resuming.said import TEXTS, Channel, Said, ids_of, place_of, texts_of
from gateway.resuming.ways import Way
from relay.errors import BadUpstream
from relay.wire.flow import Sink


class Disagrees(BadUpstream):
    """What another node says is not what was said. Nothing of it was passed on."""


class Rest(Checked):
    """`echoed`: what was said comes again, and is skipped. `note` is the comment that stands at the join.

    `joined` once anything of it was passed on.
    """

    __slots__ = ("_behind", "_counted", "_note", "joined")

    def __init__(
        self,
        sink: Sink,
        said: Said,
        on_finished: Callable[[], None],
        way: Way,
        *,
        echoed: bool,
        note: str,
        quiet_s: float = inf,
    ) -> None:
        super().__init__(sink, said, on_finished, quiet_s)
        self.joined = False
        self._note = note
        self._counted = said.tokens if way is Way.CONTINUE else 0  # which the other node counts as its prompt
        channels = [channel for index in range(said.answers) for channel in said.channels(index)]
        self._behind: dict[Channel, int] = dict.fromkeys(channels, 0) if echoed else {}  # how much of each has come

    def _told(self, event: bytes, parsed: Parsed) -> bytes:
        rest = self._rest_of(parsed)
        if rest is None:
            return b""
        self.said.take(rest)
        told = events.written(rest)
        if not self.joined:
            self.joined = True
            return f": {self._note}\n\n".encode() + told
        return told

    def _rest_of(self, parsed: Parsed) -> Parsed | None:
        """The event without what was said. Raises Disagrees."""
        left = []
        for index, choice, delta in events.choices_of(parsed):
            rest = self._rest_of_choice(index, choice, delta)
            if rest is not None:
                left.append(rest)
        usage = parsed.get("usage")
        if not left and (usage is None or self.said.usage or self._behind):
            return None
        rest = {**parsed, **{name: self.said.shape[name] for name in ("id", "created") if name in self.said.shape}}
        if "choices" in parsed:
            rest["choices"] = left
        if isinstance(usage, dict) and self._counted:
            rest["usage"] = _recounted(usage, self._counted)
            rest.pop("timings", None)
        return rest

    def _rest_of_choice(self, index: int, choice: Parsed, delta: Parsed) -> Parsed | None:
        if index in self.said.finishes:
            return None
        rest, skipped = self._skip(index, delta)
        finish = choice.get("finish_reason")
        if finish is not None and not self._caught_up(index):
            raise _disagreeing("it ended earlier")
        if finish is None and not _holds(rest):
            return None
        if skipped and choice.get("logprobs") is not None and _holds(rest):
            raise _disagreeing("its tokens are others")
        if "delta" in choice:
            return {**choice, "delta": rest}
        return {**choice, "text": rest.get("text", "")}

    def _skip(self, index: int, delta: Parsed) -> tuple[Parsed, bool]:
        """The delta without what was said, and whether anything was."""
        rest, skipped = dict(delta), False
        if self.said.begun.get(index):
            rest.pop("role", None)
        if ids_of(index, delta):
            rest["tool_calls"] = [self._same_id(index, call) for call in delta["tool_calls"]]
        for channel, text in texts_of(index, delta):
            left = self._left(channel, text)
            if len(left) < len(text):
                skipped = True
                _put(rest, channel, left)
        return rest, skipped

    def _left(self, channel: Channel, text: str) -> str:
        """What of a channel's text is new."""
        known = _main(channel)
        at = self._behind.get(known)
        if at is None:
            return text
        said, given = self.said.of(known), text.encode()
        due = bytes(said[at : at + len(given)])
        if not given.startswith(due):
            raise _disagreeing("its text is another")
        self._behind[known] = at + len(due)
        if at + len(due) == len(said):
            del self._behind[known]
        return given[len(due) :].decode()

    def _caught_up(self, index: int) -> bool:
        return not any(channel[0] == index for channel in self._behind)

    def _same_id(self, index: int, call: Any) -> Any:
        """A call that was begun keeps its id."""
        known = self.said.ids.get((index, "tool_calls", place_of(call))) if isinstance(call, dict) else None
        return {**call, "id": known} if known and call.get("id") else call


def _main(channel: Channel) -> Channel:
    return (0, TEXTS[0]) if channel[0] == 0 and channel[1] in TEXTS else channel


def _put(rest: Parsed, channel: Channel, left: str) -> None:
    """Write what is left of a channel's text in its place; nothing of it is no field."""
    if len(channel) == 2:
        name = str(channel[1])
        if left and not isinstance(rest[name], str):
            raise _disagreeing("it is cut in the midst of a value")
        if left:
            rest[name] = left
        else:
            rest.pop(name, None)
        return
    calls = []
    for call in rest["tool_calls"]:
        if isinstance(call, dict) and place_of(call) == channel[2]:
            function = {**call["function"], str(channel[3]): left}
            call = {**call, "function": function}
            if not any(function.get(name) for name in ("name", "arguments")):
                continue
            if not function.get("name"):  # the call was begun: only its arguments go on
                function.pop("name", None)
                call.pop("id", None)
                call.pop("type", None)
        calls.append(call)
    rest["tool_calls"] = calls


def _holds(delta: Parsed) -> bool:
    """Whether a delta says anything."""
    return any(value not in (None, "", []) for value in delta.values())


def _recounted(usage: Parsed, told: int) -> Parsed:
    """Tokens that were told before the join are generated ones, though the other node read them."""
    prompt, generated = usage.get("prompt_tokens"), usage.get("completion_tokens")
    if not isinstance(prompt, int) or not isinstance(generated, int):
        return usage
    told = min(told, prompt)
    return {**usage, "prompt_tokens": prompt - told, "completion_tokens": generated + told}


def _disagreeing(how: str) -> Disagrees:
    return Disagrees(f"Another node's answer does not agree with what was said: {how}.", code="resume_disagrees")
