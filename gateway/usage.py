"""How many tokens an answer took, as its last bytes say. Pure, and cheap enough for each answer.

Escaped as JSON's strings are, no text of a model can look like a figure. Not here: keeping those bytes (relay.events).
"""

from __future__ import annotations

import re

_TAIL_BYTES = 2048
_FIGURE = re.compile(
    rb'"(prompt_tokens|input_tokens|prompt_n|cache_n|completion_tokens|output_tokens|predicted_n)"\s*:\s*(\d{1,9})\b'
)


def noticed(tail: bytes) -> tuple[int, int]:
    """(prompt tokens, generated tokens); 0 where the answer does not say.

    OpenAI's names, Anthropic's, and llama-server's timings, where there is no usage.
    """
    found = {name: int(figure) for name, figure in _FIGURE.findall(tail[-_TAIL_BYTES:])}
    if not found:
        return 0, 0
    prompt = found.get(b"prompt_tokens", found.get(b"input_tokens"))
    if prompt is None:
        prompt = found.get(b"prompt_n", 0) + found.get(b"cache_n", 0)
    generated = found.get(b"completion_tokens", found.get(b"output_tokens"))
    return prompt, found.get(b"predicted_n", 0) if generated is None else generated
