"""A hostile RPC host: bent copies of a contract's real events, with an honest one in each block.

python -m tests.fakes.mutant_chain LOGS.jsonl COUNT SEED    the first line of its output is its URL

The first line of the file is the contract's address. Some events are bent by the host; in others the payload is bent,
which anybody can post. It answers ranges of a few blocks only, as public hosts do.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
from pathlib import Path
from typing import Any

from aiohttp import web

from registry.evm.payload import pack, unpack
from tests.fakes.alone import serve_alone
from tests.fakes.mutation import mutated

PER_BLOCK = 199  # bent ones
SOURCES = 20  # of the events are bent
MOST_BLOCKS = 4
_BOMB = pack("x" * 50_000_000)


class Mutants:
    """Blocks 1, 2, ...; each is made when it is asked for, the same again each time."""

    def __init__(self, address: str, honest: list[dict[str, Any]], count: int, seed: int) -> None:
        self._address = address
        self._honest = honest[:SOURCES]
        self._canaries = honest[SOURCES:]
        self._count = count
        self._seed = seed
        self.blocks = -(-count // PER_BLOCK)

    def block(self, number: int) -> list[Any]:
        rng = random.Random(self._seed + number)
        size = min(PER_BLOCK, self._count - (number - 1) * PER_BLOCK)
        logs = [self._mutant(rng, number, index) for index in range(1, size + 1)]
        canary = {**self._canaries[number % len(self._canaries)], **_place(number, 0)}
        logs.insert(rng.randrange(len(logs) + 1), canary)
        return logs

    def _mutant(self, rng: random.Random, number: int, index: int) -> Any:
        log = {**rng.choice(self._honest), **_place(number, index)}
        kind = rng.random()
        if kind < 0.4:
            return mutated(log, self._honest, rng)
        payload = _payload(log["data"])
        envelope = mutated(json.loads(unpack(payload)), [json.loads(unpack(payload))], rng)
        text = json.dumps(envelope, separators=(",", ":"))
        if kind < 0.42:
            return {**log, "data": _data(_BOMB)}
        if kind < 0.6:
            return {**log, "data": _data(pack(text))}
        if kind < 0.75:
            return {**log, "data": _data(text.encode())}
        return {**log, "data": _data(_bent(payload, rng))}

    async def answer(self, request: web.Request) -> web.Response:
        asked = await request.json()
        body = {"jsonrpc": "2.0", "id": asked["id"]}
        try:
            body["result"] = self._result(asked["method"], asked["params"])
        except OverflowError as error:
            body["error"] = {"code": -32005, "message": str(error)}
        return web.Response(text=json.dumps(body), content_type="application/json")

    def _result(self, method: str, params: list[Any]) -> Any:
        if method == "eth_getLogs":
            first, last = int(params[0]["fromBlock"], 16), int(params[0]["toBlock"], 16)
            if last - first >= MOST_BLOCKS:
                raise OverflowError("query exceeds max block range")
            return [log for number in range(max(first, 1), last + 1) for log in self.block(number)]
        number = self.blocks if params[:1] == ["latest"] or method != "eth_getBlockByNumber" else int(params[0], 16)
        answers = {
            "eth_chainId": "0x7a69",
            "eth_blockNumber": hex(self.blocks),
            "eth_getCode": "0x60",
            "eth_call": "0x" + f"{1:064x}",
            "eth_getBlockByNumber": {"number": hex(number), "hash": _hash(number)},
        }
        return answers[method]


def _place(block: int, index: int) -> dict[str, str]:
    place = {"blockNumber": hex(block), "blockHash": _hash(block), "logIndex": hex(index)}
    return {**place, "transactionHash": _hash(block * 1000 + index)}


def _hash(number: int) -> str:
    return f"0x{number:064x}"


def _payload(data: str) -> bytes:
    raw = bytes.fromhex(data[2:])
    return raw[64 : 64 + int.from_bytes(raw[32:64])]


def _data(payload: bytes) -> str:
    return "0x" + ((32).to_bytes(32) + len(payload).to_bytes(32) + payload + bytes(-len(payload) % 32)).hex()


def _bent(payload: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(payload))
    bends = (payload[:at], payload[at:], payload[:at] + bytes([rng.randrange(256)]) + payload[at + 1 :], payload * 2)
    return rng.choice((*bends, rng.randbytes(rng.randrange(300))))


async def main(mutants: Mutants) -> None:
    await serve_alone(web.post("/", mutants.answer))


if __name__ == "__main__":
    address, *logs = [json.loads(line) for line in Path(sys.argv[1]).read_text().splitlines()]
    asyncio.run(main(Mutants(address, logs, int(sys.argv[2]), int(sys.argv[3]))))
