"""`waypost up` as people start it: every endpoint at once, a model of one's own, and stopping it."""

from __future__ import annotations

import asyncio
import contextlib
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from deploy.demo import DEMOS
from relay.endpoints import ENDPOINTS
from tests.programs import ROOT, Program, free_port, running, waypost
from tests.stack import EMBEDDING_WEIGHTS

pytestmark = pytest.mark.engine
LIMIT_S = 240.0
WITHOUT_DEMO = "import sys; sys.prefix = '/nowhere'; import waypost; sys.exit(waypost.main(sys.argv[1:]))"


@contextlib.asynccontextmanager
async def up(folder: Path, *words: str) -> AsyncIterator[Program]:
    command = ("-m", "waypost", "up", "--port", str(free_port()), *words)
    async with running(command, folder / "said.txt", env={"XDG_STATE_HOME": str(folder)}) as program:
        yield program


async def test_an_embedding_model_is_asked_on_each_of_its_endpoints(tmp_path: Path) -> None:
    words = ("up", "--once", "--port", str(free_port()), "--model", f"mine={EMBEDDING_WEIGHTS}")
    said = await waypost(*words, cwd=tmp_path)
    assert re.search(r"^/v1/embeddings +mine +384 numbers: ", said, re.MULTILINE)
    assert re.search(r"^/v1/rerank +mine +0\.\d\d for \"A forgotten password", said, re.MULTILINE)


async def test_all_answers_on_every_endpoint(tmp_path: Path) -> None:
    async with up(tmp_path, "--all", "--once", "--model", f"mine={EMBEDDING_WEIGHTS}") as program:
        status = await asyncio.wait_for(program.process.wait(), LIMIT_S)
        said = program.output()
    assert status == 0, said
    rows = re.findall(r"^(/\S+) +(\S+)( \*)? +\S.* +\d+\.\d$", said, re.MULTILINE)
    asked = {f"/v1/{endpoint.path}" for endpoint in ENDPOINTS.values()} | {"/model/proxy/tokenize"}
    assert {path for path, _, _ in rows} == asked
    assert {model for _, model, _ in rows} == {demo.name for demo in DEMOS} | {"mine"}
    assert {model for _, model, random in rows if random} == {"demo-image", "demo-vision"}
    assert "* random weights" in said


async def test_all_serves_until_it_is_stopped(tmp_path: Path, session: aiohttp.ClientSession) -> None:
    async with up(tmp_path, "--all") as program:
        said = await program.saw("waypost registry list", limit_s=LIMIT_S)
        for name in (
            "chat.completions",
            "responses",
            "embeddings",
            "images.edit",
            "audio.speech",
            "audio.translations",
        ):
            assert f"\n  client.{name}" in said
        url = re.search(r"^  (http://\S+/v1)$", said, re.MULTILINE)
        assert url is not None
        async with session.get(f"{url[1]}/models") as response:
            assert {item["id"] for item in (await response.json())["data"]} == {demo.name for demo in DEMOS}
        assert await program.stop(signal.SIGINT) == 0
        assert "Traceback" not in program.output()


@pytest.mark.parametrize("said", ["loading ", "gateway: "])
async def test_a_stop_before_the_calls_are_done(tmp_path: Path, said: str) -> None:
    async with up(tmp_path, "--all") as program:
        await program.saw(said, limit_s=LIMIT_S)
        assert await program.stop(signal.SIGINT) == 130
        assert "Traceback" not in program.output()


def test_all_without_what_it_needs_says_how_to_get_it(tmp_path: Path) -> None:
    """As it is where Waypost was installed without its checkout."""
    words = [sys.executable, "-c", WITHOUT_DEMO, "up", "--all", "--port", str(free_port()), "--state", str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True, cwd=ROOT, timeout=60, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("waypost: --all needs ")
    assert "make up ARGS=--all" in done.stderr
    assert "pip install 'waypost[all]'" in done.stderr
    assert "Traceback" not in done.stderr
