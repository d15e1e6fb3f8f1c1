"""A hostile Aleph node: bent copies of real messages, with an honest one somewhere on each page and in each burst.

python -m tests.fakes.mutant_aleph MESSAGES.jsonl COUNT SEED [JUNK]    the first line of its output is its URL

Some copies keep their sender's signature (the host bends them), some get a good hash, and some are signed anew by a key
of the poster's own (anybody may post anything). Its pages come in one order, whatever is asked for. With JUNK it shows
pages for ever, whose times rise: so many messages on each, all with a broken signature but those in the file, which
come one by one, on the first page and on each KEEP_UP-th after it.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import json
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from aiohttp import web
from eth_account import Account
from eth_account.messages import encode_defunct

from tests.fakes.alone import serve_alone
from tests.fakes.mutation import mutated

PAGE = 200
KEEP_UP = 15
SOURCES = 20  # of the messages are bent; a copy of which only unsigned fields were bent is honest still


class Mutants:
    """Pages are made once, in order, and remembered by the time that stands in `startDate`."""

    def __init__(self, honest: list[dict[str, Any]], count: int, seed: int) -> None:
        self._honest = honest[:SOURCES]
        self._canaries = iter(honest[SOURCES:])  # each is shown once, and never bent
        self._rng = random.Random(seed)
        self._poster = Account.create(seed)
        self._pages = self._make(count)
        self._time = 1000.0

    def _make(self, count: int) -> Iterator[list[Any]]:
        while count > 0:
            page = [self.mutant() for _ in range(min(count, PAGE - 1))]
            count -= len(page)
            page.insert(self._rng.randrange(len(page) + 1), next(self._canaries))
            yield page

    def mutant(self) -> Any:
        rng = self._rng
        kind = rng.random()
        message = rng.choice(self._honest)
        if kind < 0.5:
            return mutated(message, self._honest, rng)
        content = json.dumps(mutated(json.loads(message["item_content"]), self._honest, rng), separators=(",", ":"))
        bent = {**message, "item_content": content, "item_hash": _digest(content)}
        return bent if kind < 0.65 else self._signed(bent)

    def _signed(self, message: dict[str, Any]) -> dict[str, Any]:
        bent = {**message, "sender": self._poster.address}
        text = "\n".join((bent["chain"], bent["sender"], bent["type"], bent["item_hash"]))
        signature = Account.sign_message(encode_defunct(text=text), self._poster.key).signature
        return {**bent, "signature": "0x" + bytes(signature).hex()}

    async def page(self, _: web.Request) -> web.Response:
        messages = next(self._pages, [])
        for message in messages:
            self._time += 1
            if isinstance(message, dict):
                message["time"] = self._time
        body = {"messages": messages, "pagination_per_page": PAGE, "pagination_page": 1, "pagination_total": 10**6}
        return web.Response(text=json.dumps(body), content_type="application/json")

    async def socket(self, request: web.Request) -> web.WebSocketResponse:
        """Bent messages as fast as they are taken; each hundredth is honest, until all of those have been shown."""
        response = web.WebSocketResponse()
        await response.prepare(request)
        for canary in self._canaries:
            burst = [self.mutant() for _ in range(99)]
            for message in (*burst, canary):
                await response.send_str(json.dumps(message))
        async for _ in response:
            pass
        return response


class Junk(Mutants):
    """Pages without end."""

    def __init__(self, honest: list[dict[str, Any]], size: int) -> None:
        super().__init__(honest, 0, 0)
        self._pages = self._forge(honest, size)

    def _forge(self, honest: list[dict[str, Any]], size: int) -> Iterator[list[Any]]:
        left = iter(honest[1:])
        forged = [{**honest[0], "item_hash": f"{number:064x}", "item_content": "{}"} for number in range(size)]
        for number in itertools.count():
            shown = honest[:1] if number == 0 else list(itertools.islice(left, number % KEEP_UP == 0))
            yield [*map(dict, shown), *map(dict, forged)]


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


async def main(mutants: Mutants) -> None:
    await serve_alone(web.get("/api/v0/messages.json", mutants.page), web.get("/api/ws0/messages", mutants.socket))


if __name__ == "__main__":
    messages = [json.loads(line) for line in Path(sys.argv[1]).read_text().splitlines()]
    count, seed, *junk = map(int, sys.argv[2:])
    asyncio.run(main(Junk(messages, *junk) if junk else Mutants(messages, count, seed)))
