"""In which ways the rest of a broken answer may be asked for, and with which body. Pure.

The same request again (`replay`) gives the same answer where it is deterministic, and is checked against what was said;
it takes about as long as the answer has taken so far. To go on from the text so far (`continue`) takes a moment, and
gives an answer as good as any, though not always the same. Not here: who is asked (resume).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from enum import Enum
from typing import Any, Literal

import orjson

from gateway.groups import Candidate
from gateway.resuming.said import Said
from relay.call import Call
from relay.endpoints import CHAT, COMPLETIONS

Wish = Literal["auto", "replay", "continue", "off"]

_LONG_S = 10.0  # an answer that has taken longer is rather continued than replayed
_ENDPOINTS = (CHAT.name, COMPLETIONS.name)
# With these only the answer from its start is exact: a grammar begins where the answer does, a call may follow.
_FROM_THE_START = (
    "tools", "functions", "grammar", "json_schema", "logprobs", "top_logprobs", "n_probs", "echo", "suffix"
)  # fmt: skip
_BUDGETS = ("max_tokens", "max_completion_tokens", "n_predict")


class Way(Enum):
    AGAIN = "again"  # nothing was said yet: a first answer like any
    REPLAY = "replay"
    CONTINUE = "continue"


def is_resumable(call: Call) -> bool:
    """Whether this is a stream that can be brought to its end elsewhere."""
    return call.stream and call.endpoint.name in _ENDPOINTS


def answers_of(call: Call) -> int:
    """How many choices the request asks for."""
    if b'"n"' not in call.body and call.endpoint.name == CHAT.name:
        return 1
    fields = _fields(call)
    prompts = fields.get("prompt")
    many = len(prompts) if isinstance(prompts, list) and prompts and not isinstance(prompts[0], int) else 1
    n = fields.get("n")
    return many * (n if isinstance(n, int) and n > 1 else 1)


def counted(call: Call) -> bool:
    """Whether the request asks for usage at the end of its stream."""
    if b'"include_usage"' not in call.body:
        return False
    options = _fields(call).get("stream_options")
    return isinstance(options, dict) and options.get("include_usage") is True


def ways(call: Call, said: Said, wish: Wish, taken_s: float) -> list[tuple[Way, Call]]:
    """What to ask, best first; empty where nothing would be right. `taken_s`: what the answer has taken so far."""
    if wish == "off":
        return []
    if not said.anything:
        return [(Way.AGAIN, call)]
    fields = _fields(call)
    found: list[tuple[Way, Call]] = []
    if wish in ("auto", "replay") and _is_repeatable(fields):
        found.append((Way.REPLAY, call))
    body = None if said.exact or wish == "replay" else _continued(call, fields, said)
    if body is not None:
        found.append((Way.CONTINUE, replace(call, body=body)))
    if taken_s > _LONG_S:
        found.reverse()
    return found


def spent(call: Call, said: Said) -> bool:
    """Whether the answer has had all the tokens that it may have, so that nothing but its end is missing."""
    fields = _fields(call)
    return any(_is_count(fields.get(name)) and fields[name] <= said.tokens for name in _BUDGETS)


def is_same_model(first: Candidate, other: Candidate) -> bool:
    """Whether both are the same model: as tiers have it, by its name and its weights."""
    mine, theirs = first.offer, other.offer
    return (mine.model, mine.weights_sha256) == (theirs.model, theirs.weights_sha256)


def may_go_on(way: Way, first: Candidate, other: Candidate) -> bool:
    """Whether `other` may go on with what `first` began."""
    if way is Way.AGAIN:
        return True
    mine, theirs = first.offer, other.offer
    same = (mine.weights_sha256, mine.template_sha256, mine.engine) == (
        theirs.weights_sha256, theirs.template_sha256, theirs.engine
    )  # fmt: skip
    return same and (way is Way.REPLAY or theirs.resume)


def _is_repeatable(fields: Mapping[str, Any]) -> bool:
    """Greedy, or drawn with a seed: the same engine says the same again."""
    seed = fields.get("seed")
    seeded = isinstance(seed, int) and seed >= 0
    return fields.get("temperature") == 0 or fields.get("top_k") == 1 or seeded


def _continued(call: Call, fields: Mapping[str, Any], said: Said) -> bytes | None:
    """The request for what follows the text so far; None where that would not be the rest of the same answer."""
    if not said.text or spent(call, said) or any(fields.get(name) for name in _FROM_THE_START):
        return None
    if fields.get("response_format") not in (None, {"type": "text"}):
        return None
    begun = _with_messages(fields, said.text) if call.endpoint.name == CHAT.name else _with_prompt(fields, said.text)
    if begun is None:
        return None
    for name in _BUDGETS:
        if _is_count(fields.get(name)):
            begun[name] = fields[name] - said.tokens
    return orjson.dumps(begun)


def _with_messages(fields: Mapping[str, Any], text: str) -> dict[str, Any] | None:
    messages = list(fields["messages"])
    if messages and messages[-1].get("role") == "assistant":
        begun = messages.pop()
        if begun.keys() - {"role", "content"} or not isinstance(begun.get("content"), str):
            return None
        if not text.startswith(begun["content"]):
            return None  # whoever answered does not say again what it was given
    return {**fields, "messages": [*messages, {"role": "assistant", "content": text}]}


def _with_prompt(fields: Mapping[str, Any], text: str) -> dict[str, Any] | None:
    prompt = fields.get("prompt")
    if isinstance(prompt, list) and len(prompt) == 1:
        prompt = prompt[0]
    return {**fields, "prompt": prompt + text} if isinstance(prompt, str) else None


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _fields(call: Call) -> dict[str, Any]:
    fields: dict[str, Any] = orjson.loads(call.body)
    return fields
