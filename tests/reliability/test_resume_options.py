"""What `--resume` allows: nothing, the same request again, or the text so far continued."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from tests.misbehaving.words import TEXT, bare, plain
from tests.reliability.cast import FINE, QUICK, SPARE, Player, Stage, do, staged
from tests.reliability.seen import chat

STALL = do("breaks", how="stalled", at=9)
DRAWN = {"temperature": 0.9}


@contextlib.asynccontextmanager
async def _resuming(folder: Path, wish: str) -> AsyncIterator[Stage]:
    bad = Player("bad", {"fixed": [STALL], "drawn": [STALL], "done": [do("breaks", how="closed", at="usage")]})
    good = Player("good", {model: [FINE] for model in bad.scripts}, changes=SPARE)
    async with staged(folder, [bad, good], (*QUICK, "--resume", wish)) as stage:
        yield stage


async def _metrics(stage: Stage) -> str:
    async with aiohttp.ClientSession() as session, session.get(f"{stage.stack.gateway_url}/metrics") as response:
        return await response.text()


async def test_off_resumes_nothing(tmp_path: Path) -> None:
    async with _resuming(tmp_path, "off") as stage:
        for model, more in (("fixed", {}), ("drawn", DRAWN)):
            seen = (await chat(stage, model, **more)).is_broken()
            assert seen.error is not None
            assert seen.error.code == "gap_timeout"
            assert seen.text
            assert stage.tries(model) == {"bad": 1}
        assert (await chat(stage, "done")).is_whole().text == TEXT, "nothing of it is missing"
        assert 'waypost_gateway_limits_fired_total{limit="gap"} 2' in await _metrics(stage)


async def test_replay_continues_nothing(tmp_path: Path) -> None:
    async with _resuming(tmp_path, "replay") as stage:
        seen = (await chat(stage, "fixed")).is_whole()
        assert (seen.text, seen.joins) == (TEXT, ["resumed by replay on another node"])
        (await chat(stage, "drawn", **DRAWN)).is_broken()
        assert stage.tries("drawn") == {"bad": 1}


async def test_continue_replays_nothing(tmp_path: Path) -> None:
    async with _resuming(tmp_path, "continue") as stage:
        for model, more in (("fixed", {}), ("drawn", DRAWN)):
            seen = (await chat(stage, model, **more)).is_whole()
            assert seen.text == TEXT or bare(seen.text) == plain()
            assert seen.joins == ["resumed by continuing on another node"]
            assert stage.asked("good", model)[0]["messages"][-1]["role"] == "assistant"
        told = 'waypost_gateway_resumes_total{outcome="whole",way="continue"} 2'
        assert told in await _metrics(stage)


@pytest.mark.parametrize("changes", [
    {"weights": "ef" * 4}, {"template_sha256": None}, {"engine": "llama.cpp/2"}, {"resume": False},
])  # fmt: skip
async def test_only_who_would_say_the_same_goes_on(tmp_path: Path, changes: dict[str, object]) -> None:
    bad = Player("bad", {"drawn": [do("breaks", at=9)], "fixed": [do("breaks", at=9)]})
    other = Player("other", {"drawn": [FINE], "fixed": [FINE]}, changes=SPARE | changes)
    weights = bad.offers()[0].weights_sha256  # of two groups under one name a pin says which is meant
    pins = ("--pin", f"drawn={weights}", "--pin", f"fixed={weights}")
    async with staged(tmp_path, [bad, other], (*QUICK, *pins)) as stage:
        (await chat(stage, "drawn", **DRAWN)).is_broken()
        assert stage.tries("drawn").get("other", 0) == 0
        fixed = await chat(stage, "fixed")
        if changes == {"resume": False}:
            assert fixed.is_whole().text == TEXT, "to repeat is not to continue"
        else:
            assert stage.tries("fixed").get("other", 0) == 0
            fixed.is_broken()
