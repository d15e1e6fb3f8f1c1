"""A chain's RPC host that misbehaves as told, in front of a real chain: `python -m tests.fakes.rpc_proxy CHAIN_URL`.

Prints its own URL. `POST /control` with the fields of `Mood` sets how it behaves from then on (what is not named is as
it should be), `GET /control` tells how often each method was called since. Any other path is the RPC.
"""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any

import aiohttp
import rlp
from aiohttp import web

HOUR_S = 3600


@dataclass
class Mood:
    range_limit: int | None = None  # blocks in one eth_getLogs
    result_limit: int | None = None  # entries in one answer
    bad_block: int | None = None  # eth_getLogs is refused where this one is in the range
    behind: int = 0  # blocks that the whole host does not know yet
    sheds: int = 0  # blocks that it knows no more once it is asked for entries, and it refuses ranges that have them
    logs_behind: int = 0  # blocks whose entries it leaves out, without a word
    refuse: dict[str, str] = field(default_factory=dict)  # methods, and the error's message
    status: dict[str, int] = field(default_factory=dict)  # methods, and the HTTP status of an answer without JSON
    answer: dict[str, Any] = field(default_factory=dict)  # methods, and the result instead of the true one
    stall: list[str] = field(default_factory=list)  # methods that get no answer
    least_tip: int = 0  # wei; transactions that offer less are refused, in these words
    cheap: str = "transaction underpriced: gas tip cap {tip}, minimum needed {least}"
    swallow: bool = False  # transactions are taken and thrown away
    lies: list[str] = field(default_factory=list)  # what each entry comes with beside itself: see _LIES


# Entries that the contract cannot have made, by what is wrong with them.
_LIES: dict[str, dict[str, Any]] = {
    "address": {"address": "0x" + "11" * 20},
    "topic": {"topics": ["0x" + "22" * 32] * 4},
    "topics": {"topics": []},
    "range": {"blockNumber": "0xffffff"},
    "removed": {"removed": True},
    "repeated": {},
    "length": {"data": "0x" + f"{32:064x}" + "f" * 64},
    "padding": {"data": "0x" + f"{32:064x}" + f"{1:064x}" + "ff" * 32, "logIndex": "0x77"},
    "nothing": {"data": None},
    "number": {"blockNumber": 7},
}


class Proxy:
    def __init__(self, chain: str) -> None:
        self.chain = chain
        self.mood = Mood()
        self.calls: Counter[str] = Counter()

    async def control(self, request: web.Request) -> web.Response:
        if request.method == "POST":
            self.mood, self.calls = Mood(**await request.json()), Counter()
        return web.json_response({"calls": self.calls, "mood": asdict(self.mood)})

    async def rpc(self, request: web.Request) -> web.Response:
        asked = await request.json()
        method, mood = asked["method"], self.mood
        self.calls[method] += 1
        if method in mood.stall:
            await asyncio.sleep(HOUR_S)
        if method in mood.status:
            return web.Response(status=mood.status[method], text="<html>no</html>")
        answer = {"jsonrpc": "2.0", "id": asked["id"]}
        try:
            answer["result"] = await self._result(method, asked["params"])
        except ValueError as error:
            answer["error"] = error.args[0]
        return web.json_response(answer)

    async def _result(self, method: str, params: list[Any]) -> Any:
        mood = self.mood
        if method in mood.refuse:
            raise ValueError({"code": -32000, "message": mood.refuse[method]})
        if method in mood.answer:
            return mood.answer[method]
        if method == "eth_sendRawTransaction" and (tip := _tip(params[0])) < mood.least_tip:
            raise ValueError({"code": -32000, "message": mood.cheap.format(tip=tip, least=mood.least_tip)})
        if method == "eth_sendRawTransaction" and mood.swallow:
            return "0x" + "00" * 32
        if method == "eth_blockNumber":
            return hex(await self._head())
        if method == "eth_getBlockByNumber":
            number = await self._head() if params[0] == "latest" else int(params[0], 16)
            return await self._ask(method, hex(number), False) if number <= await self._head() else None
        if method == "eth_getLogs":
            return await self._logs(params[0])
        return await self._ask(method, *params)

    async def _logs(self, asked: dict[str, Any]) -> Any:
        mood, first, last = self.mood, int(asked["fromBlock"], 16), int(asked["toBlock"], 16)
        if mood.range_limit is not None and last - first >= mood.range_limit:
            raise ValueError({"code": -32602, "message": f"exceed maximum block range: {mood.range_limit}"})
        if mood.bad_block is not None and first <= mood.bad_block <= last:
            raise ValueError({"code": -32000, "message": "something went wrong"})
        if mood.sheds:
            mood.behind = mood.sheds
            if last > await self._head():
                raise ValueError({"code": -32602, "message": "block range extends beyond current head block"})
        shown = min(last, await self._head() - mood.logs_behind)
        found = await self._ask("eth_getLogs", {**asked, "toBlock": hex(shown)}) if first <= shown else []
        if mood.result_limit is not None and len(found) > mood.result_limit:
            raise ValueError({"code": -32005, "message": f"query returned more than {mood.result_limit} results"})
        return [entry for log in found for entry in (*({**log, **_LIES[lie]} for lie in mood.lies), log)]

    async def _head(self) -> int:
        return max(0, int(await self._ask("eth_blockNumber"), 16) - self.mood.behind)

    async def _ask(self, method: str, *params: Any) -> Any:
        request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        async with aiohttp.ClientSession() as session, session.post(self.chain, json=request) as response:
            answer = await response.json(content_type=None)
        if "error" in answer:
            raise ValueError(answer["error"])
        return answer["result"]


def _tip(raw: str) -> int:
    """What a transaction offers for a unit of gas: its tip, or its price where it is of the older form."""
    data = bytes.fromhex(raw[2:])
    return int.from_bytes(rlp.decode(data[1:])[2] if data[0] == 2 else rlp.decode(data)[1])


async def main(chain: str) -> None:
    proxy = Proxy(chain)
    app = web.Application(client_max_size=2**26)
    app.router.add_route("*", "/control", proxy.control)
    app.router.add_post("/{path:.*}", proxy.rpc)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0]
    print(f"http://{host}:{port}", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
