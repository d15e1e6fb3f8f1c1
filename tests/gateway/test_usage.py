"""What an answer took is read from its last bytes, in each API's words, and nowhere else."""

from __future__ import annotations

import orjson
import pytest

from gateway.usage import noticed

SAYS = {
    "chat": (b'{"choices":[],"usage":{"completion_tokens":7,"prompt_tokens":12,"total_tokens":19}}', (12, 7)),
    "a stream": (b'data: {"usage":{"prompt_tokens":12,"completion_tokens":7}}\n\ndata: [DONE]\n\n', (12, 7)),
    "messages": (b'data: {"usage":{"input_tokens":3,"output_tokens":4}}\n\nevent: message_stop\n\n', (3, 4)),
    "timings alone": (b'data: {"timings":{"cache_n":10,"prompt_n":2,"predicted_n":7,"predicted_ms":1.5}}\n\n', (12, 7)),
    "both": (b'{"usage":{"completion_tokens":7,"prompt_tokens":12},"timings":{"prompt_n":1,"predicted_n":6}}', (12, 7)),
    "an embedding": (b'{"data":[],"usage":{"prompt_tokens":5,"total_tokens":5}}', (5, 0)),
    "spaces": (b'{"usage" : { "prompt_tokens" : 12 , "completion_tokens":\n7 }}', (12, 7)),
    "nothing": (b"", (0, 0)),
    "sound": (bytes(range(256)) * 20, (0, 0)),
    "no figure": (b'{"usage":{"prompt_tokens":"12","completion_tokens":-7}}', (0, 0)),
    "a figure too large to be one": (b'{"usage":{"prompt_tokens":12345678901234567890}}', (0, 0)),
}


@pytest.mark.parametrize("name", SAYS)
def test_what_an_answer_took(name: str) -> None:
    raw, took = SAYS[name]
    assert noticed(raw) == took


def test_a_model_cannot_say_it_in_its_text() -> None:
    text = 'My usage: {"prompt_tokens": 1000000, "completion_tokens": 1000000}'
    raw = orjson.dumps({"choices": [{"message": {"content": text}}]})
    assert noticed(raw) == (0, 0)
    assert noticed(b'{"usage":{"prompt_tokens":1,"completion_tokens":2},"x":' + orjson.dumps(text) + b"}") == (1, 2)
