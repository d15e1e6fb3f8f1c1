"""A configuration that cannot be taken while the node runs, or not now: a line says so, and everything goes on."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.node.agent import Agent, options
from tests.node.reloading import (
    LIMIT_S,
    Models,
    edited,
    engine_of,
    engines_of,
    frozen,
    hang_up,
    serves,
    status_of,
    streaming,
    told,
)

pytestmark = pytest.mark.engine


WRONG: list[tuple[str | bytes | None, str]] = [
    ("[node\n", "--config "),
    ('[node]\nlisen = "127.0.0.1:0"\n', "[node] has no option 'lisen'; it knows "),
    ('[nodes]\nlisten = "127.0.0.1:0"\n', "unknown key 'nodes'; the tables are "),
    ("", "no model is named; give --model NAME=URI"),
    ("[node]\nqueue = -1\ngap_s = 0\n[node.models.keep]\nuri = '/w.gguf'\n", "--gap-s: "),
    ('[node.models.keep]\nuri = "/w.gguf"\naliases = ["no good"]\n', "'no good' cannot name a model; use letters"),
    (
        '[node.models.keep]\nuri = "/w"\naliases = ["b"]\n[node.models.b]\nuri = "/w"\n',
        "the alias 'b' of keep is taken",
    ),
    ('[node.models.keep]\nuri = "/w.gguf"\ncontxt = 1\n', "[node] models.keep.contxt: no such option"),
    (b"\xff\xfe", "--config "),
    (None, "No such file or directory"),
]


async def test_with_a_configuration_that_cannot_be_taken_everything_goes_on_as_before(
    tmp_path: Path, node: Agent, small: dict[str, Any], session: aiohttp.ClientSession
) -> None:
    engine = await engine_of(node, "keep")
    file = tmp_path / "waypost.toml"
    async with streaming(session, node, "keep") as stream:
        for content, why in WRONG:
            since = len(node.program.output())
            file.unlink() if content is None else file.write_bytes(
                content if isinstance(content, bytes) else content.encode()
            )
            hang_up(node)
            line = await told(node, since)
            assert " ERROR waypost.node SIGHUP: nothing is changed: " in line, line
            assert why in line, line
        assert await stream.whole()
    await serves(session, node, {"keep": 512})
    assert await status_of(session, node, "keep") == 200
    assert engines_of(node, "keep") == [engine]
    assert "Traceback" not in node.program.output()
    assert "added fresh" in await edited(node, tmp_path, {"keep": small, "fresh": small})
    await serves(session, node, {"keep": 512, "fresh": 512})


def _put(file: Path, content: str | bytes | None) -> None:
    file.unlink(missing_ok=True)
    if content is not None:
        file.write_bytes(content if isinstance(content, bytes) else content.encode())


async def test_what_needs_a_restart_is_said_and_the_rest_is_done(
    tmp_path: Path, node: Agent, small: dict[str, Any], session: aiohttp.ClientSession
) -> None:
    models: Models = {"keep": {**small, "aliases": ["k"]}}
    changed = {"listen": "127.0.0.1:1", "access": ["open"], "drain_s": 3}
    for _ in range(2):  # it is said for as long as it is so
        since = len(node.program.output())
        await edited(node, tmp_path, models, **changed)
        said = await node.program.saw("restart", since, LIMIT_S)
        line = next(line for line in said.splitlines() if "restart" in line)
        assert " WARNING waypost.node SIGHUP: " in line, line
        assert "--listen, --access" in line, line
    assert await status_of(session, node, "k") == 200
    since = len(node.program.output())
    await edited(node, tmp_path, models)
    assert await status_of(session, node, "k") == 200
    assert "restart" not in node.program.output()[since:]


async def test_during_a_drain_it_does_nothing(
    tmp_path: Path, node: Agent, small: dict[str, Any], session: aiohttp.ClientSession
) -> None:
    engine = await engine_of(node, "keep")
    async with streaming(session, node, "keep") as stream:
        with frozen(engine):
            node.program.process.send_signal(signal.SIGTERM)
            await node.program.saw("draining")
            options(tmp_path, {"fresh": small})
            hang_up(node)
            await node.program.saw("SIGHUP: ", limit_s=LIMIT_S)
        assert await stream.whole()
    assert await asyncio.wait_for(node.program.process.wait(), LIMIT_S) == 0
    assert "added" not in node.program.output()
