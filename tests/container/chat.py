"""What a user does with the gateway of a trial: `chat.py URL MODEL NODES` waits until so many nodes offer the model,
then asks it, streamed, until each has answered, and prints what was said and by whom as JSON."""

from __future__ import annotations

import json
import sys
import time

import openai
from openai import OpenAI

LIMIT_S = 300


def main() -> int:
    """Ends with 1 where not all nodes have answered."""
    url, model, nodes = sys.argv[1], sys.argv[2], int(sys.argv[3])
    client = OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0)
    began = time.monotonic()
    while _offered(client, model) < nodes:
        if time.monotonic() - began > LIMIT_S:
            print(f"{_offered(client, model)} of {nodes} nodes offer {model} after {LIMIT_S} s", file=sys.stderr)
            return 1
        time.sleep(0.2)
    found_s = time.monotonic() - began
    said: dict[str, str] = {}
    for turn in range(4 * nodes):
        node, text = _asked(client, model, f"{turn}: say hello to Anna.")
        said.setdefault(node, text)
        if len(said) == nodes:
            break
    print(json.dumps({"found_s": round(found_s, 1), "said": said}))
    return 0 if len(said) == nodes and all(said.values()) else 1


def _offered(client: OpenAI, model: str) -> int:
    try:
        return next((getattr(each, "nodes", 0) for each in client.models.list() if each.id == model), 0)
    except openai.APIConnectionError:
        return 0


def _asked(client: OpenAI, model: str, question: str) -> tuple[str, str]:
    answer = client.chat.completions.with_raw_response.create(
        model=model, messages=[{"role": "user", "content": question}], stream=True, max_tokens=24, temperature=0
    )
    text = "".join(chunk.choices[0].delta.content or "" for chunk in answer.parse() if chunk.choices)
    return answer.headers["waypost-node"], text


if __name__ == "__main__":
    sys.exit(main())
