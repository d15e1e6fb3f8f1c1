"""How much of an engine a call takes."""

from __future__ import annotations

from typing import Any

import pytest

from node.portions import portion
from node.seats import Portion
from relay.call import Call
from relay.endpoints import CHAT, COMPLETIONS, EDITS, EMBEDDINGS, IMAGES, MESSAGES, Endpoint


@pytest.mark.parametrize(
    ("endpoint", "fields", "slots", "work"),
    [
        (CHAT, {}, 1, 1),
        (CHAT, {"n": None}, 1, 1),
        (CHAT, {"n": 1}, 1, 1),
        (CHAT, {"n": 3}, 3, 1),
        (CHAT, {"n": 4}, 4, 1),
        (CHAT, {"n": 9}, 4, 3),
        (CHAT, {"n": 10**30}, 4, 10**30 // 4),
        (CHAT, {"n": True}, 1, 1),
        (CHAT, {"n": "3"}, 1, 1),
        (COMPLETIONS, {"prompt": "Hi"}, 1, 1),
        (COMPLETIONS, {"prompt": []}, 1, 1),
        (COMPLETIONS, {"prompt": [1, 2, 3]}, 1, 1),
        (COMPLETIONS, {"prompt": ["a", "b"]}, 2, 1),
        (COMPLETIONS, {"prompt": [[1, 2], [3]], "n": 2}, 4, 1),
        (MESSAGES, {"n": 4}, 1, 1),
        (EMBEDDINGS, {}, 1, 1),
        (IMAGES, {"n": 10}, 1, 10),
        (IMAGES, {}, 1, 1),
        (EDITS, {}, 1, 1),
    ],
)
def test_a_call_takes_what_it_asks_for(endpoint: Endpoint, fields: dict[str, Any], slots: int, work: int) -> None:
    assert portion(Call(endpoint, "m", False, "id", fields=fields), 4) == Portion(slots, work)
