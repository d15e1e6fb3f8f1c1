"""Nodes that must not start, or that share a machine; and callers who send bytes that are no text."""

from __future__ import annotations

import ast
import asyncio
from pathlib import Path
from typing import Any

from tests.node.agent import agent, options
from tests.programs import ROOT, running

MODEL = "smollm2"


async def test_a_node_whose_only_model_has_a_bad_flag_ends_with_one_line(
    tmp_path: Path, fake_llama: Path, small_gguf: Path
) -> None:
    model = {"uri": str(small_gguf), "flags": ["--die", "error: invalid argument: --x"]}
    published: dict[str, Any] = {
        "public_url": "http://127.0.0.1:1",
        "access": ["open"],
        "registry": [f"sqlite:///{tmp_path}/r.db"],
    }
    for changed in (dict[str, Any](), published):
        words = options(tmp_path, {MODEL: model}, llama_server=str(fake_llama), **changed)
        async with running(words, tmp_path / "log.txt") as program:
            assert await asyncio.wait_for(program.process.wait(), 90) == 1
            assert program.output().splitlines()[-1] == (
                "waypost: no model can be served: llama-server says 'error: invalid argument: --x'; "
                f"change flags in [node.models.{MODEL}]"
            )
            assert "Traceback" not in program.output()


def test_no_exception_is_raised_where_debian_12s_python_would_wrap_it() -> None:
    """What an `except*` raises is in a group of its own before Python 3.11.4, and nothing above takes it for itself."""
    for package in ("deploy", "gateway", "node", "registry", "relay"):
        for file in (ROOT / package).rglob("*.py"):
            starred = [node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.TryStar)]
            raised = [node for each in starred for node in ast.walk(each) if isinstance(node, ast.Raise)]
            assert not raised, f"{file}:{raised[0].lineno}: use `except BaseExceptionGroup`"


async def test_a_node_key_serves_once_at_a_time(tmp_path: Path, fake_llama: Path, small_gguf: Path) -> None:
    models, state = {MODEL: {"uri": str(small_gguf)}}, tmp_path / "state"
    async with agent(tmp_path, models, llama_server=str(fake_llama)) as node:
        words = options(tmp_path, models, llama_server=str(fake_llama))
        async with running(words, tmp_path / "second.txt") as second:
            assert await asyncio.wait_for(second.process.wait(), 90) == 1
            assert second.output().splitlines()[-1] == (
                f"waypost: --state {state}: a node with the key {node.key} runs on it already; "
                "give this one another --state, or a --node-key of its own"
            )
        keys = {"node_key": str(tmp_path / "b.key"), "delegate_key": str(tmp_path / "c.key")}
        (tmp_path / "beside").mkdir()
        shared = {"llama_server": str(fake_llama), "state": str(state)}
        async with agent(tmp_path / "beside", models, **shared, **keys) as beside:
            assert beside.key != node.key
    (tmp_path / "again").mkdir()
    async with agent(tmp_path / "again", models, **shared) as again:
        assert again.key == node.key


async def test_a_key_of_any_bytes_is_401(tmp_path: Path, fake_llama: Path, small_gguf: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text("plain-key\n")
    models = {MODEL: {"uri": str(small_gguf)}}
    async with agent(tmp_path, models, llama_server=str(fake_llama), access=[f"keys:{keys}"]) as node:
        port = int(node.url.rpartition(":")[2])
        for header in (b"Authorization: Bearer \xff", b"X-Waypost-Token: \xff.\xfe.x", b"X-Waypost-Token: \xc3\xa9"):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET /v1/models HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + header + b"\r\n\r\n")
            answer = await asyncio.wait_for(reader.read(), 90)
            writer.close()
            assert answer.startswith(b"HTTP/1.1 401"), answer
        assert "Traceback" not in node.program.output()
