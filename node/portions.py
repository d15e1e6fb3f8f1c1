"""How much of an engine one call takes: as many of its slots as the answers that it asks for, or more time in one.

Not here: who gets them (seats), and what a call may ask for at all (relay's checks).
"""

from __future__ import annotations

from typing import Any

from node.seats import Portion
from relay.call import Call
from relay.endpoints import CHAT, COMPLETIONS, EDITS, IMAGES

_USUAL = Portion()


def portion(call: Call, slots: int) -> Portion:
    """Of an engine with so many slots.

    Each choice of a chat and each prompt of a completion is a sequence of its own, in a slot of its own. Pictures are
    made one after another. Texts to embed or to rank take slots of llama-server's too, but only for moments.
    """
    endpoint = call.endpoint
    if endpoint is CHAT:
        return _spread(_count(call.fields.get("n")), slots)
    if endpoint is COMPLETIONS:
        return _spread(_count(call.fields.get("n")) * _prompts(call.fields.get("prompt")), slots)
    if endpoint is IMAGES:
        return _longer(_count(call.fields.get("n")))
    if endpoint is EDITS and call.form is not None:
        said = (call.form.text("n") or "").strip()
        return _longer(int(said) if said.isascii() and said.isdigit() and len(said) <= 4 else 1)
    return _USUAL


def _spread(sequences: int, slots: int) -> Portion:
    if sequences <= 1:
        return _USUAL
    taken = min(sequences, slots)
    return Portion(taken, -(-sequences // taken))


def _longer(pictures: int) -> Portion:
    return Portion(1, max(1, pictures))


def _count(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 1


def _prompts(prompt: Any) -> int:
    """A list of numbers is one prompt, of tokens."""
    if not isinstance(prompt, list) or not prompt or isinstance(prompt[0], int):
        return 1
    return len(prompt)
