"""Misbehaving nodes behind a gateway process: who offers which model, by which script, and what each was asked.

Not here: what the faults do (tests.misbehaving), and what the client sees (seen).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from openai import AsyncOpenAI

from registry.keys import NodeKey
from tests.gateway.adverts import digest, offer
from tests.gateway.scene import Operator, new_scene
from tests.programs import running as running_program
from tests.programs import until
from tests.reliability.tap import Tap
from tests.stack import Stack, serve_gateway

Step = dict[str, Any]
QUICK = ("--head-s", "1.5", "--first-token-s", "1.5", "--gap-s", "1.5", "--connect-s", "1.5")
FINE: Step = {"do": "fine"}
SPARE = {"warm": False}  # changes of an offer: whoever has the model warm is asked before


def do(fault: str, **options: Any) -> Step:
    """A step of a script: see tests.misbehaving.faults."""
    return {"do": fault, **options}


@dataclass
class Player:
    """A node: `scripts` by model. `changes` are of its offers: all of them, or of one by its name."""

    name: str
    scripts: dict[str, Sequence[Step]] = field(default_factory=dict)
    goes_round: bool = False
    door: str = "open"
    changes: dict[str, Any] = field(default_factory=dict)
    changes_of: dict[str, dict[str, Any]] = field(default_factory=dict)
    key: NodeKey = field(default_factory=NodeKey.new)

    def plan(self, secret: str) -> dict[str, Any]:
        scripts = {model: {"steps": steps, "round": self.goes_round} for model, steps in self.scripts.items()}
        return {"name": self.name, "key": secret, "models": scripts, "door": self.door}

    def offers(self) -> list[Any]:
        usual = {
            "weights": "ab" * 4,
            "endpoints": ["chat.completions", "completions"],
            "template_sha256": digest("cd"),
            "resume": True,
        }
        return [offer(model, **{**usual, **self.changes, **self.changes_of.get(model, {})}) for model in self.scripts]


@dataclass
class Stage:
    """What runs, and what was asked of whom."""

    stack: Stack
    record: Path
    players: Mapping[str, Player]
    tap: Tap
    client: AsyncOpenAI  # through the tap: for one request at a time

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.record.read_text().splitlines()]

    def asked(self, node: str, model: str) -> list[dict[str, Any]]:
        """The bodies that reached it, in their order."""
        return [
            line["body"]
            for line in self.lines()
            if line["node"] == node and line.get("model") == model and "body" in line
        ]

    def tries(self, model: str) -> dict[str, int]:
        """How often each node was asked for it."""
        return dict(Counter(line["node"] for line in self.lines() if line.get("model") == model and "body" in line))

    def breaches(self) -> list[str]:
        """The rules that the gateway has broken."""
        return [f"{line['node']}: {line['breach']}" for line in self.lines() if "breach" in line]

    async def is_over(self, node: str, model: str) -> None:
        """Wait until nothing of that model is under way there any more."""

        def over() -> bool:
            lines = [line for line in self.lines() if line["node"] == node and line.get("model") == model]
            return sum("body" in line for line in lines) == sum("over" in line for line in lines)

        await until(over, lambda: f"{node} to be left by the gateway")

    @staticmethod
    def patience() -> asyncio.Timeout:
        """For what comes in its own time."""
        return asyncio.timeout(60)

    def key_of(self, node: str) -> str:
        return self.players[node].key.public


@contextlib.asynccontextmanager
async def staged(folder: Path, players: Sequence[Player], options: Sequence[str] = QUICK) -> AsyncIterator[Stage]:
    """All of them behind one open gateway, each proven. Adverts are posted in this order: who comes first is asked
    first where nothing else decides. In the end no rule may have been broken."""
    stack, operator = new_scene(folder)
    plan, record = folder / "plan.json", folder / "record.jsonl"
    plan.write_text(json.dumps([player.plan(_secret(folder, player)) for player in players]))
    words = ["-m", "tests.misbehaving.node", "--plan", str(plan), "--record", str(record)]
    async with running_program(words, folder / "nodes.txt") as program:
        said = await program.saw("}\n")
        ports = json.loads(said.partition("listening:")[2])
        await _post(operator, players, ports)
        async with (
            serve_gateway(stack, ("--open", *options), proven=len(players)),
            Tap(stack.gateway_url).listening() as tap,
            AsyncOpenAI(base_url=f"{tap.url}/v1", api_key="a client's key", max_retries=0, timeout=240) as client,
        ):
            stage = Stage(stack, record, {player.name: player for player in players}, tap, client)
            yield stage
            assert not stage.breaches()
            assert "Traceback" not in program.output(), "the nodes have done as they were told"


async def _post(operator: Operator, players: Sequence[Player], ports: Mapping[str, int]) -> None:
    await operator.post(
        *(
            operator.sign(player.key, f"http://127.0.0.1:{ports[player.name]}", offers=player.offers())
            for player in players
        )
    )


def _secret(folder: Path, player: Player) -> str:
    path = folder / f"{player.name}.key"
    player.key.save(path)
    return path.read_text().strip()
