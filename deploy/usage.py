"""What `waypost up` says to who would like to call it.

Not here: the calls (calls).
"""

from __future__ import annotations

from collections.abc import Sequence

from deploy.first_call import CHAT, Asked
from deploy.plan import Plan

_CURL = "curl "


def usage(plan: Plan, answered: Sequence[Asked]) -> str:
    """Several lines: the URLs, one line for each endpoint that was answered, and what is on the registry."""
    return "\n".join(
        [
            "Serving until Ctrl-C. Set an OpenAI SDK's base_url to",
            f"  {plan.url}/v1",
            f"  {plan.url}/vm/{plan.nodes[0].key}/v1   (this one VM)",
            "with any API key. For example:",
            *_lines(plan.url, answered),
            "What is on the registry, and why it counts or not:",
            f"  waypost registry list --allow-private --registry '{plan.shown_registry}'",
        ]
    )


def _lines(url: str, answered: Sequence[Asked]) -> list[str]:
    if [asked.call.endpoint for asked in answered] == [CHAT]:
        return [
            f"  curl {url}{answered[0].call.path} -H 'Content-Type: application/json' \\",
            f'    -d \'{{"model": "{answered[0].model}", "messages": [{{"role": "user", "content": "Hello!"}}]}}\'',
        ]
    once = {asked.call.endpoint: asked for asked in reversed(answered)}.values()
    lines = [asked.call.use.format(model=asked.model, url=url) for asked in reversed(once)]
    sdk = [f"  {line}" for line in lines if not line.startswith(_CURL)]
    curl = [f"  {line}" for line in lines if line.startswith(_CURL)]
    client = f'  client = OpenAI(base_url="{url}/v1/", api_key="any")   # Python, pip install openai'
    return [*([client, *sdk] if sdk else []), *curl]
