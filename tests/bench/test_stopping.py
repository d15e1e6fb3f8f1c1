"""A bench that is told to stop ends what it has started, and says so."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.programs import running

MEASURES = """
import asyncio
from pathlib import Path
from bench import stopping

async def measure():
    try:
        print("begun", flush=True)
        await asyncio.Event().wait()
    finally:
        print("ending", flush=True)
        while not Path("may-end").exists():
            await asyncio.sleep(0.01)
        print("ended", flush=True)

stopping.run("bench.example", measure())
"""
STOPPED = "bench.example: stopped; everything that it started has ended"


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
async def test_a_second_signal_does_not_cut_the_ending_short(tmp_path: Path, sign: signal.Signals) -> None:
    async with running(("-c", MEASURES), tmp_path / "log.txt") as bench:
        await bench.saw("begun")
        bench.process.send_signal(sign)
        await bench.saw("ending")
        bench.process.send_signal(sign)
        (tmp_path / "may-end").touch()
        assert await bench.process.wait() == 130
        assert bench.output().splitlines() == ["begun", "ending", "ended", STOPPED]
