"""A little engine that writes as llama-server does: role chunk, a chunk for each token, finish, usage, `[DONE]`.

Pure: a request gives a `Reply`. It keeps `max_tokens`, `stop`, `n`, `seed`, `logprobs`, tools and thinking, continues a
trailing assistant message (whose text it repeats, merged with its first new token) and a prompt. Not here: what is done
to the reply on its way (faults), and what a request must be like (rules).
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.misbehaving.words import THOUGHT, Mind, count

DONE = b"data: [DONE]\n\n"
PROMPT = "Once more, from the start:\n"  # what stands behind it in a prompt has been said
ARGUMENTS = '{"city": "Paris", "days": 3}'


@dataclass(frozen=True)
class Habits:
    """How this engine speaks, beyond what the request decides. `model` is what it calls itself."""

    name: str
    model: str
    drifts_at: int | None = None
    repeats_prefix: bool = True


@dataclass(frozen=True)
class Reply:
    """An answer: `chunks` of a stream, and the same as a `whole`. `tokens`: which of the chunks bear tokens."""

    chunks: Sequence[Mapping[str, Any]]
    whole: Mapping[str, Any]
    tokens: range

    def events(self) -> list[bytes]:
        """As they go over the wire, the last one included."""
        return [event(chunk) for chunk in self.chunks] + [DONE]

    def after(self, token: int) -> int:
        """The index of the event that follows upon so many tokens, or upon all that there are."""
        return self.tokens[0] + min(token, len(self.tokens))

    @property
    def finish(self) -> int:
        """The index of the event that says why it ends."""
        return next(i for i, chunk in enumerate(self.chunks) if any(c["finish_reason"] for c in chunk["choices"]))


def event(chunk: Mapping[str, Any]) -> bytes:
    return b"data: " + json.dumps(chunk, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n"


def speak(path: str, body: Mapping[str, Any], habits: Habits) -> Reply:
    """What the engine answers to a request that keeps the rules."""
    chat = path.endswith("/chat/completions")
    if chat and body.get("tools"):
        return _calling(body, habits)
    said = _said(body) if chat else str(body["prompt"]).partition(PROMPT)[2]
    mind = _mind(body, habits)
    budget = body.get("max_completion_tokens") or body.get("max_tokens")
    stops = [body["stop"]] if isinstance(body.get("stop"), str) else list(body.get("stop") or ())
    thought = mind.goes_on("", THOUGHT) if chat and _thinks(body) else []
    pieces, used, finish = _limited(mind.goes_on(said), None if budget is None else budget - len(thought), stops)
    usage = _usage(body, chat, used + len(thought))
    frame = _Frame(body, habits, chat, usage)
    prefix = said if chat and habits.repeats_prefix else ""
    return frame.reply(thought, pieces, prefix, finish)


def _thinks(body: Mapping[str, Any]) -> bool:
    return bool(body.get("chat_template_kwargs", {}).get("enable_thinking"))


def _said(body: Mapping[str, Any]) -> str:
    """The text of a trailing assistant message, which is to be continued."""
    last = body["messages"][-1]
    return str(last["content"]) if last.get("role") == "assistant" else ""


def _mind(body: Mapping[str, Any], habits: Habits) -> Mind:
    """As with llama-server, without a temperature the words are drawn, and with a seed all draw the same ones."""
    if body.get("temperature", 0.8) == 0:
        return Mind(None, habits.drifts_at)
    seed = body.get("seed")
    return Mind(habits.name if seed is None else f"seed{seed}", habits.drifts_at)


def _limited(tokens: Sequence[str], budget: int | None, stops: Sequence[str]) -> tuple[list[str], int, str]:
    """The pieces as they are sent, how many tokens they took, and why they end.

    What may be the start of a stop word is held back until it is none.
    """
    pieces: list[str] = []
    held, used = "", 0
    for token in tokens:
        if used == budget:
            break
        used += 1
        held += token
        if ends := [held.index(stop) for stop in stops if stop in held]:
            return [*pieces, held[: min(ends)]] if min(ends) else pieces, used, "stop"
        if any(stop.startswith(held[-n:]) for stop in stops for n in range(1, min(len(stop), len(held)) + 1)):
            continue
        pieces.append(held)
        held = ""
    if held:
        pieces.append(held)
    return pieces, used, "stop" if budget is None or used < budget else "length"


def _usage(body: Mapping[str, Any], chat: bool, used: int) -> dict[str, Any]:
    prompt = count(str(body["prompt"])) if not chat else 0
    for message in body["messages"] if chat else ():  # a template's words stand around all but one to be continued
        prompt += count(message["content"]) + (4 if message["role"] != "assistant" else 0)
    return {"completion_tokens": used, "prompt_tokens": prompt, "total_tokens": prompt + used}


class _Frame:
    """What stands around the tokens."""

    def __init__(self, body: Mapping[str, Any], habits: Habits, chat: bool, usage: Mapping[str, Any]) -> None:
        self._body = body
        self._chat = chat
        self._usage = usage
        self._choices = range(body.get("n") or 1)
        self._frame = {
            "created": int(time.time()),
            "id": f"chatcmpl-{uuid.uuid4().hex}",
            "model": habits.model,
            "system_fingerprint": f"b1-{habits.name}",
            "object": "chat.completion.chunk" if chat else "text_completion",
        }

    def reply(self, thought: Sequence[str], pieces: Sequence[str], prefix: str, finish: str) -> Reply:
        deltas: list[dict[str, Any]] = [{"reasoning_content": piece} for piece in thought]
        deltas += [{"content": (prefix if index == 0 else "") + piece} for index, piece in enumerate(pieces)]
        if not pieces and prefix:
            deltas.append({"content": prefix})
        message = {"role": "assistant", "content": prefix + "".join(pieces)}
        if thought:
            message["reasoning_content"] = "".join(thought)
        return self._framed(deltas, message, finish)

    def calling(self, deltas: Sequence[dict[str, Any]], calls: Sequence[Mapping[str, Any]]) -> Reply:
        message = {"role": "assistant", "content": None, "tool_calls": calls}
        return self._framed(deltas, message, "tool_calls")

    def _framed(self, deltas: Sequence[dict[str, Any]], message: Mapping[str, Any], finish: str) -> Reply:
        head = [self._chunk(each, {"role": "assistant", "content": None}) for each in self._choices if self._chat]
        said = [self._chunk(each, delta) for delta in deltas for each in self._choices]
        ends = [self._chunk(each, {}, finish) for each in self._choices]
        if not self._chat:
            ends[-1] |= {"usage": self._usage}
        elif (self._body.get("stream_options") or {}).get("include_usage"):
            ends.append(self._frame | {"choices": [], "usage": self._usage})
        else:
            ends[-1] |= {"timings": {"cache_n": 0, "predicted_n": self._usage["completion_tokens"]}}
        tokens = range(len(head), len(head) + len(said))
        return Reply([*head, *said, *ends], self._whole(message, finish), tokens)

    def _chunk(self, choice: int, delta: Mapping[str, Any], finish: str | None = None) -> dict[str, Any]:
        made: dict[str, Any] = {"finish_reason": finish, "index": choice}
        if self._chat:
            made["delta"] = delta
        else:
            made |= {"text": delta.get("content", ""), "logprobs": None}
        if self._body.get("logprobs") and delta.get("content"):
            made["logprobs"] = {"content": [_logprob(delta["content"])]}
        return {"choices": [made], **self._frame}

    def _whole(self, message: Mapping[str, Any], finish: str) -> dict[str, Any]:
        spoken = {"message": message} if self._chat else {"text": message["content"], "logprobs": None}
        choices = [{"finish_reason": finish, "index": each, **spoken} for each in self._choices]
        kind = "chat.completion" if self._chat else "text_completion"
        return self._frame | {"object": kind, "choices": choices, "usage": self._usage}


def _logprob(token: str) -> dict[str, Any]:
    return {"token": token, "bytes": list(token.encode()), "logprob": -0.5, "top_logprobs": []}


def _calling(body: Mapping[str, Any], habits: Habits) -> Reply:
    """A call of the first tool. Its id is drawn; its arguments too, unless the request is deterministic."""
    mind = _mind(body, habits)
    arguments = ARGUMENTS if mind.mark is None else ARGUMENTS.replace("Paris", f"Paris {mind.mark}")
    call = {"id": uuid.uuid4().hex, "type": "function"}
    name = body["tools"][0]["function"]["name"]
    deltas = [{"tool_calls": [{"index": 0, **call, "function": {"name": name, "arguments": arguments[:1]}}]}]
    deltas += [
        {"tool_calls": [{"index": 0, "function": {"arguments": arguments[at : at + 4]}}]}
        for at in range(1, len(arguments), 4)
    ]
    frame = _Frame(body, habits, True, _usage(body, True, len(deltas)))
    return frame.calling(deltas, [{**call, "function": {"name": name, "arguments": arguments}}])
