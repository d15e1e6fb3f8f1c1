"""Nodes that misbehave by a script, as a program: each proves its key, enforces the protocol, and then does as told.

The plan (a JSON file) lists nodes: name, key, and for each model a script: what to do with its first request, its
second, ... (`faults`); the last step stays, unless the script goes `round`. Every request is one line of the record
(JSON); one that breaks a rule says so in `breach` and is refused. When the node has said all that it will, or the
gateway has left, a second line says `over`. The first line printed has the ports. Not here: what is said (engine), and
what goes wrong with it (faults).

A node's `door` is `open`; `shut`: it listens no longer once it has proven its key; `slam`: it takes connections then,
and resets them at once.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import itertools
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.misbehaving.asking import Asking
from tests.misbehaving.engine import Habits, speak
from tests.misbehaving.faults import FAULTS
from tests.misbehaving.rules import Breach, check_body, check_request, parse_body
from tests.misbehaving.wire import Asked, Malformed, Wire

_CHALLENGE = "/.well-known/waypost/challenge"
_API = ("/v1/chat/completions", "/v1/completions")


class Record:
    """What was asked, and what became of it: a file that is complete before an answer begins."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a")

    def write(self, **line: Any) -> None:
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()


class Node:
    """One node of the plan."""

    def __init__(self, plan: Mapping[str, Any], record: Record) -> None:
        self.name = str(plan["name"])
        self._plan = plan
        self._record = record
        self._key = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(plan["key"]))
        self._public = _b64(self._key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))
        self._gateways: set[str] = set()
        self._asked: Counter[str] = Counter()
        self._server: asyncio.Server | None = None
        self._healths = itertools.count(1)

    async def listen(self) -> int:
        """The port."""
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0, limit=1 << 20)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        wire = Wire(reader, writer)
        if self._gateways and self._plan.get("door") == "slam":
            self._record.write(node=self.name, slammed=True)
            await wire.reset()
            return
        try:
            while wire.open and (asked := await wire.asked()) is not None:
                await self._answer(wire, asked)
        except Malformed as error:
            self._record.write(node=self.name, breach=f"no HTTP: {error}")
        except ConnectionError:
            pass  # the gateway has left
        finally:
            with contextlib.suppress(ConnectionError):
                writer.close()

    async def _answer(self, wire: Wire, asked: Asked) -> None:
        if asked.path == _CHALLENGE:
            await self._prove(wire, asked)
        elif asked.path in _API:
            await self._call(wire, asked)
        elif asked.path == "/health":
            self._record.write(node=self.name, health=next(self._healths))
            await wire.whole(200, b'{"status": "ok"}')
        else:
            await wire.whole(404, b'{"error": {"message": "there is nothing here"}}')

    async def _prove(self, wire: Wire, asked: Asked) -> None:
        given = json.loads(asked.body)
        message = "\n".join(("waypost challenge v1", given["nonce"], given["url"], "-", given["gateway"]))
        await wire.whole(200, json.dumps({"signature": _b64(self._key.sign(message.encode()))}).encode())
        wire.close()
        self._gateways.add(given["gateway"])
        if self._plan.get("door") == "shut" and self._server is not None:
            self._server.close()

    async def _call(self, wire: Wire, asked: Asked) -> None:
        models = self._plan["models"]
        try:
            model = check_request(self._public, self._gateways, asked.head, models)
            body = parse_body(asked.body)
            check_body(asked.path, body)
        except Breach as breach:
            self._record.write(node=self.name, path=asked.path, breach=str(breach))
            error = {"message": f"breach: {breach}", "code": "breach"}
            await wire.whole(400, json.dumps({"error": error}).encode())
            return
        self._asked[model] += 1
        step = _step(models[model], self._asked[model])
        line = {"node": self.name, "model": model, "nth": self._asked[model]}
        self._record.write(**line, path=asked.path, body=body, did=step)
        await self._play(wire, asked.path, model, body, step)
        self._record.write(**line, over=True)

    async def _play(self, wire: Wire, path: str, model: str, body: Mapping[str, Any], step: dict[str, Any]) -> None:
        options = {key: value for key, value in step.items() if key not in ("do", "drifts_at", "repeats_prefix")}
        habits = {key: step[key] for key in ("drifts_at", "repeats_prefix") if key in step}
        asking = Asking(body, speak(path, body, Habits(self.name, model, **habits)))
        with contextlib.suppress(ConnectionError):  # it is over too where the gateway has left
            await FAULTS[step["do"]](wire, asking, **options)


def _step(script: Mapping[str, Any], nth: int) -> dict[str, Any]:
    steps = script["steps"]
    chosen: dict[str, Any] = steps[(nth - 1) % len(steps) if script.get("round") else min(nth, len(steps)) - 1]
    return chosen


def _b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


async def _serve(nodes: Sequence[Node]) -> None:
    ports = {node.name: await node.listen() for node in nodes}
    print("listening:", json.dumps(ports), flush=True)
    await asyncio.Event().wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--plan", type=Path, required=True)
    parser.add_argument("--record", type=Path, required=True)
    given = parser.parse_args()
    record = Record(given.record)
    asyncio.run(_serve([Node(each, record) for each in json.loads(given.plan.read_text())]))


if __name__ == "__main__":
    main()
