"""`waypost node check`: what would be served, what would not and why, with real engines; and nothing is left behind."""

from __future__ import annotations

import asyncio
import fcntl
import os
import re
import signal
import struct
import sys
import termios
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest

from deploy import demo
from node.engines.llama import find_build
from tests import commands
from tests.node.agent import alive, options
from tests.node.elsewhere import stand_in
from tests.node.tiny_model import write_model
from tests.programs import ROOT, running, until

GOOD = {"context": 512, "parallel": 1, "threads": 1}
Models = Mapping[str, Mapping[str, Any]]


def words_of(folder: Path, models: Models, *more: str, **changed: Any) -> list[str]:
    """The command's words, after the interpreter."""
    words = options(folder, models, log_level="warning", **changed)
    return ["check" if word == "serve" else word for word in words] + list(more)


def check(folder: Path, models: Models, *more: str, **changed: Any) -> commands.Ended:
    ended = commands.run(folder, *words_of(folder, models, *more, **changed)[2:])
    assert "Traceback" not in ended.out + ended.err
    return ended


@pytest.mark.engine
def test_good_models_and_bad_ones(tmp_path: Path) -> None:
    good, bad, gone = write_model(tmp_path / "good.gguf"), tmp_path / "bad.gguf", tmp_path / "gone.gguf"
    write_model(bad, architecture="nosuch")
    digest = "0" * 64
    ended = check(
        tmp_path,
        {
            "nosuch": {"uri": str(bad)},
            "good": {"uri": str(good), **GOOD},
            "other": {"uri": f"{good}#sha256={digest}"},
            "gone": {"uri": str(gone)},
        },
    )
    assert (ended.status, ended.err) == (1, "")
    lines = ended.out.splitlines()
    assert lines[1].split()[0] == "nosuch" and lines[1].endswith("  no")
    assert lines[2] == (
        f"  {bad}: this llama-server cannot load it (unknown model architecture: 'nosuch'); "
        "get another model or conversion, or name a newer llama.cpp with --llama-server"
    )
    row = r"good +chat +0\.4 MiB +\d+ MiB +\d+ MiB +[+-]\d+ +\d+\.\d+ s +\d+\.\d+ s +\d+\.\d  ok"
    assert re.fullmatch(row, lines[3]), lines[3]
    assert re.match(rf"  {re.escape(str(good))}: its sha256 is \w{{64}}, not {digest}", lines[5])
    assert lines[7] == f"  {gone}: there is no such file; check the path"
    assert len(lines) == 8
    assert not list((tmp_path / "state").glob("*.key")), "it makes no keys: it tells nobody anything"


@pytest.mark.engine
def test_every_kind_of_model_and_as_json(tmp_path: Path) -> None:
    models = {each.name: each.options() for each in demo.DEMOS}
    ended = check(tmp_path, models, "--json")
    found = {each["model"]: each for each in orjson.loads(ended.out)}
    assert list(found) == list(models)
    assert [each["why"] for each in found.values()] == [None] * len(found)
    assert ended.status == 0
    assert [each["kind"] for each in found.values()] == [
        "chat",
        "embedding",
        "image",
        "speech",
        "transcription",
        "chat",
    ]
    for each in found.values():
        assert each["ok"] and each["load_s"] > 0 and each["answer_s"] > 0
        assert each["weights_bytes"] > 0 and each["took"]["ram"] > 0
    assert [name for name, each in found.items() if each["tokens_per_s"]] == [demo.CHAT.name, demo.VISION.name]


@pytest.mark.engine
def test_what_does_not_fit_is_not_loaded(tmp_path: Path) -> None:
    uri = str(write_model(tmp_path / "good.gguf"))
    kept, on_demand = {"uri": uri, **GOOD}, {"uri": uri, "load": "demand", **GOOD}
    ended = check(
        tmp_path,
        {
            "later": {**on_demand, "memory_mib": 500},
            "first": {**kept, "memory_mib": 600},
            "second": {**kept, "memory_mib": 600},
            "small": {**on_demand, "memory_mib": 400},
            "large": {**kept, "memory_mib": 2000},
        },
        "--json",
        ram_mib=1000,
    )
    assert ended.status == 1
    why = {each["model"]: each["why"] for each in orjson.loads(ended.out)}
    assert (why["first"], why["small"]) == (None, None)
    beside = "400 MiB RAM are there beside the models that are kept loaded (of 1000 MiB RAM in all); "
    assert why["second"].startswith(f"it needs 600 MiB RAM, and {beside}")
    assert why["later"].startswith(f"it needs 500 MiB RAM, and {beside}")
    assert why["large"].startswith(f"it needs 2.0 GiB RAM, and {beside}")


@pytest.mark.engine
async def test_one_engine_runs_at_a_time(tmp_path: Path) -> None:
    uri, alone = str(write_model(tmp_path / "good.gguf")), tmp_path / "llama-server"
    server = (await find_build(None)).path
    alone.write_text(f'#!/bin/sh\nexec flock --no-fork --nonblock -E 9 {tmp_path}/lock {server} "$@"\n')
    alone.chmod(0o755)
    models = {name: {"uri": uri, **GOOD} for name in ("a", "b", "c")}
    ended = await asyncio.to_thread(check, tmp_path, models, llama_server=str(alone))
    assert ended.status == 0, ended.out


async def test_an_engine_elsewhere_must_be_there_and_is_not_asked(
    tmp_path: Path, session: aiohttp.ClientSession
) -> None:
    async with stand_in(tmp_path) as there:
        ended = await asyncio.to_thread(check, tmp_path, {"far": {"uri": f"openai+{there.url}"}})
        assert await there.seen(session) == []
        uri = f"openai+{there.url}"
    assert ended.status == 0
    assert ended.out.splitlines()[1].split()[:2] == ["far", "external"]
    ended = await asyncio.to_thread(check, tmp_path, {"far": {"uri": uri}})
    assert ended.status == 1
    said = f"its engine at {there.url} does not answer (ClientConnectorError); start it, or change uri"
    assert ended.out.splitlines()[-1] == f"  {said}"


@pytest.mark.parametrize(("sent", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
async def test_it_can_be_stopped_and_leaves_nothing(
    tmp_path: Path, fake_llama: Path, small_gguf: Path, sent: signal.Signals, status: int
) -> None:
    models = {"slow": {"uri": str(small_gguf), "flags": ["--child", "--late", "600"]}}
    words = words_of(tmp_path, models, llama_server=str(fake_llama))
    async with running(words, tmp_path / "log.txt", {"XDG_RUNTIME_DIR": str(tmp_path)}) as program:
        children = Path(f"/proc/{program.pid}/task/{program.pid}/children")

        def engines() -> list[int]:
            return [int(pid) for pid in children.read_text().split() if "--late" in command(int(pid))]

        await until(lambda: any(map(has_child, engines())), lambda: program.output())
        (engine,) = engines()
        assert await program.stop(sent) == status
        assert program.output() == ""
    assert not alive(engine)
    left = [each for each in os.listdir(tmp_path / f"waypost-{os.getuid()}") if each.startswith("run-")]
    assert left == []


def command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


def has_child(pid: int) -> bool:
    try:
        return bool(Path(f"/proc/{pid}/task/{pid}/children").read_text())
    except OSError:
        return False


@pytest.mark.engine
@pytest.mark.parametrize(("columns", "colour"), [(60, True), (110, True), (110, False)])
async def test_on_a_terminal_it_is_as_wide_as_that(tmp_path: Path, columns: int, colour: bool) -> None:
    models = {"a-name-that-is-too-long-" * 4: {"uri": str(write_model(tmp_path / "good.gguf")), **GOOD}}
    words = words_of(tmp_path, models)
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environment = {**os.environ, "PYTHONPATH": str(ROOT)} | ({} if colour else {"NO_COLOR": "1"})
    environment.pop("COLUMNS", None)
    process = await asyncio.create_subprocess_exec(
        sys.executable, *words, stdout=theirs, stderr=theirs, cwd=tmp_path, env=environment
    )
    os.close(theirs)
    read = await asyncio.to_thread(all_of, ours)
    assert await process.wait() == 0
    shown = read.rpartition("\r\x1b[K")[2]
    assert ("\x1b[32m" in shown) is colour
    lines = re.sub("\x1b\\[[0-9]*m", "", shown).replace("\r", "").splitlines()
    assert max(map(len, lines)) <= columns
    assert "ok" in "".join(lines) and "..." in "".join(lines)


def all_of(terminal: int) -> str:
    read = b""
    try:
        while piece := os.read(terminal, 4096):
            read += piece
    except OSError:  # so a terminal ends
        pass
    os.close(terminal)
    return read.decode()
