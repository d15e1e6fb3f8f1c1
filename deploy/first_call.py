"""The first calls that `waypost up` makes, as any client would: a chat alone, or every endpoint once, as a table.

Not here: what is asked on each endpoint (calls).
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import aiohttp

from deploy.calls import CALLS, EndpointCall
from deploy.chat import chat
from deploy.demo import RANDOM
from deploy.trial import CallFailed, Trial

CHAT = "chat.completions"
_MALFORMED = (LookupError, TypeError, ValueError)  # what reading an answer of another form raises
_COLUMNS = (24, 23, 47)
_RANDOM = "* random weights: it shows that the engine answers, and what it answers means nothing"


@dataclass(frozen=True)
class Asked:
    """One call that was answered, and by which model."""

    call: EndpointCall
    model: str


async def first_call(session: aiohttp.ClientSession, url: str, model: str) -> Sequence[Asked]:
    """Chat with a model that chats; ask another once on each of its endpoints. Raises CallFailed."""
    trial = Trial(session, url)
    endpoints = await _endpoints(trial, model)
    if CHAT in endpoints:
        await chat(trial, model)
        return [Asked(call, model) for call in CALLS if call.endpoint == CHAT]
    chosen = [Asked(call, model) for call in CALLS if call.endpoint in endpoints]
    if not chosen:
        raise CallFailed(f"{model} serves {', '.join(endpoints) or 'nothing'}, none of which can be tried here")
    return await _table(trial, chosen)


async def every_call(session: aiohttp.ClientSession, url: str, models: Sequence[str]) -> Sequence[Asked]:
    """Ask each endpoint once, and each model at least once. Raises CallFailed unless all were answered."""
    trial = Trial(session, url)
    listed = {item["id"]: item["endpoints"] for item in (await trial.got("/v1/models"))["data"]}
    offers = {model: listed.get(model, ()) for model in models}
    chosen: list[Asked] = []
    for call in CALLS:
        first = next((model for model, endpoints in offers.items() if call.endpoint in endpoints), None)
        busy = {asked.model for asked in chosen}
        more = [model for model, endpoints in offers.items() if call.endpoint in endpoints and model not in busy]
        chosen += [Asked(call, model) for model in dict.fromkeys([*([first] if first else []), *more])]
    unserved = [call.path for call in CALLS if call.endpoint not in {asked.call.endpoint for asked in chosen}]
    unserved += [model for model, endpoints in offers.items() if not endpoints]
    return await _table(trial, chosen, unserved)


async def _endpoints(trial: Trial, model: str) -> Sequence[str]:
    endpoints: Sequence[str] = (await trial.got(f"/v1/models/{model}"))["endpoints"]
    return endpoints


async def _table(trial: Trial, chosen: Sequence[Asked], unserved: Sequence[str] = ()) -> Sequence[Asked]:
    """One line a call, printed when it was answered, so that a slow one is seen to be slow."""
    print(f"\nAsked through {trial.url}:\n")
    _line("endpoint", "model", "what came back", "seconds")
    failed = [_said(asked) for asked in chosen if not await _answered(trial, asked)]
    for what in unserved:
        _line(what, "-", "FAILED: no node serves it; its log says why", "-")
    if any(asked.model in RANDOM for asked in chosen):
        print(_RANDOM)
    print(flush=True)
    if failed or unserved:
        raise CallFailed(f"not answered: {', '.join([*failed, *unserved])}")
    return chosen


async def _answered(trial: Trial, asked: Asked) -> bool:
    started, good = time.monotonic(), True
    try:
        said = await asked.call.ask(trial, asked.model)
    except CallFailed as error:
        said, good = f"FAILED: {error}", False
    except _MALFORMED as error:
        said, good = f"FAILED: the answer cannot be read ({type(error).__name__})", False
    model = f"{asked.model} *" if asked.model in RANDOM else asked.model
    _line(asked.call.path, model, said, f"{time.monotonic() - started:.1f}")
    return good


def _said(asked: Asked) -> str:
    return f"{asked.call.path} ({asked.model})"


def _line(*cells: str) -> None:
    padded: Iterable[str] = (f"{cell:<{width}}" for cell, width in zip(cells, _COLUMNS, strict=False))
    print("  ".join([*padded, f"{cells[-1]:>7}"]), flush=True)
