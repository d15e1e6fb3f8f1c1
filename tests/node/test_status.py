"""`waypost node status`: what a person sees of a node, and what of a server that is none."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import signal
import struct
import sys
import termios
from collections.abc import AsyncIterator
from pathlib import Path

import orjson
import pytest

from node.telemetry.status_page import shown
from tests import commands
from tests.node.agent import agent, options
from tests.programs import ROOT, free_port, running, until

MODEL = "small"
OK = b'{"status": "ready", "models": {"m": {"state": "ready", "phase": "warm", "warm": true}}}'


@contextlib.asynccontextmanager
async def server(*answer: bytes) -> AsyncIterator[str]:
    """Answers each request with those bytes, and hangs if there are none; gives its URL."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            for piece in answer:
                writer.write(piece)
                await writer.drain()
            if not answer:
                await reader.read()
        writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with listening:
        yield f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"


def http(status: bytes, body: bytes, *headers: bytes) -> bytes:
    return b"\r\n".join([b"HTTP/1.1 " + status, b"Content-Length: %d" % len(body), *headers, b"", body])


async def status(folder: Path, url: str, *words: str) -> commands.Ended:
    ended = await asyncio.to_thread(commands.run, folder, "node", "status", "--url", url, *words)
    assert "Traceback" not in ended.err
    return ended


async def test_a_node_that_serves(tmp_path: Path, fake_llama: Path, small_gguf: Path) -> None:
    models = {MODEL: {"uri": str(small_gguf), "parallel": 3}, "lost": {"uri": str(tmp_path / "lost.gguf")}}
    async with agent(tmp_path, models, llama_server=str(fake_llama)) as node:
        ended = await status(tmp_path, node.url + "/")
        assert (ended.status, ended.err) == (0, "")
        lines = ended.out.splitlines()
        assert lines[0] == f"{node.url}   ready   node {node.key}"
        (row,) = (line.split() for line in lines if line.startswith(MODEL))
        assert row[1:4] == ["warm", "0/3", "0"]
        assert any(line.split()[:2] == ["lost", "failed"] for line in lines)
        assert any(line.startswith("RAM for models: ") for line in lines)
        ended = await status(tmp_path, node.url, "--json")
        said = orjson.loads(ended.out)
        assert (ended.status, said["models"][MODEL]["phase"], said["models"]["lost"]["phase"]) == (0, "warm", "failed")


async def test_a_node_that_starts_is_1(tmp_path: Path, fake_llama: Path, small_gguf: Path) -> None:
    late = {"uri": str(small_gguf), "flags": ["--late", "600"]}
    port = free_port()
    words = options(tmp_path, {MODEL: late}, llama_server=str(fake_llama), listen=f"127.0.0.1:{port}")
    async with running(words, tmp_path / "log.txt") as program:
        while (ended := await status(tmp_path, f"http://127.0.0.1:{port}")).status == 2:  # until it listens
            assert program.process.returncode is None
        while "proving" not in ended.out:
            assert (ended.status, "starting" in ended.out.splitlines()[0]) == (1, True)
            ended = await status(tmp_path, f"http://127.0.0.1:{port}")
        assert ended.status == 1


async def test_a_cold_node_is_0(tmp_path: Path) -> None:
    async with server(http(b"202 Accepted", OK.replace(b"ready", b"cold"))) as url:
        assert (await status(tmp_path, url)).status == 0


async def test_nobody_there_is_2_and_one_line(tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    ended = await status(tmp_path, url)
    assert (ended.status, ended.out) == (2, "")
    said = f"waypost: {url}/health cannot be reached (connection refused); is the node up, and --url right?\n"
    assert ended.err == said
    ended = await status(tmp_path, "http://no-such-host.invalid")
    assert (ended.status, ended.out, len(ended.err.splitlines())) == (2, "", 1)


async def test_a_server_that_hangs_is_not_waited_for(tmp_path: Path) -> None:
    async with server() as url:
        ended = await status(tmp_path, url, "--answer-s", "0.5")
        assert (ended.status, "did not answer within 0.5 s" in ended.err) == (2, True)
    async with server(http(b"200 OK", OK)[:-20]) as url:
        assert (await status(tmp_path, url, "--answer-s", "2")).status == 2


@pytest.mark.parametrize(
    "answer",
    [
        http(b"200 OK", b'{"status": "ready", "proven": 3}'),  # a gateway
        http(b"200 OK", b"<html>welcome</html>", b"Content-Type: text/html"),
        http(b"200 OK", b"[]"),
        http(b"200 OK", b""),
        http(b"200 OK", b'{"status": 7, "models": []}'),
        http(b"200 OK", b'{"status": "\xff", "models": {}}'),
        http(b"200 OK", b'{"models":' * 5000),
        http(b"200 OK", b'{"status": "x", "models": {}, "x": ' + b"[" * 1000 + b"]" * 1000 + b"}"),
        http(b"404 Not Found", OK),
        http(b"302 Found", b"", b"Location: http://127.0.0.1:9/health"),
        http(b"500 Internal Server Error", b"{}"),
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"",
        http(b"200 OK", b'{"status": "ready", "models": {}, "x": "' + b"x" * (5 * 1024 * 1024) + b'"}'),
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc",
    ],
)  # fmt: skip
async def test_what_is_no_node_is_2_and_one_line(tmp_path: Path, answer: bytes) -> None:
    async with server(answer) as url:
        ended = await status(tmp_path, url, "--json")
    assert (ended.status, ended.out, len(ended.err.splitlines())) == (2, "", 1), ended
    assert "--url" in ended.err
    assert ended.err.isascii() and ended.err.rstrip("\n").isprintable()


async def test_nothing_that_a_stranger_wrote_reaches_the_terminal(tmp_path: Path) -> None:
    evil = "\x1b[2J\x9b31m\u202egpj\x07"
    body = orjson.dumps(
        {"status": evil, "models": {evil: {"phase": evil}}, "registries": [{"url": evil, "state": evil}]}
    )
    async with server(http(b"200 OK", body, b"Waypost-Node: \xc2\x9b31m\xe2\x80\xae")) as url:
        ended = await status(tmp_path, url)
        assert ended.status == 0
        assert shown(evil) in ended.out
        assert all(line.isprintable() for line in ended.out.splitlines())
        ended = await status(tmp_path, url, "--json")
        assert ended.out.isascii() and all(line.isprintable() for line in ended.out.splitlines())
        assert orjson.loads(ended.out)["status"] == evil


async def test_a_terminal_that_knows_ascii_alone_is_shown_what_it_knows(tmp_path: Path) -> None:
    async with server(http(b"200 OK", '{"status": "ready", "models": {"modèle": {}}}'.encode())) as url:
        ascii_only = {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0", "LC_ALL": "C"}
        words = ("node", "status", "--url", url)
        ended = await asyncio.to_thread(commands.run, tmp_path, *words, env=ascii_only)
    assert (ended.status, ended.err) == (0, "")
    assert "mod?le" in ended.out


@pytest.mark.parametrize(
    "url",
    [
        "127.0.0.1:8801",
        "ftp://x",
        "http://",
        "http://u:p@x",
        "http://x/v1",
        "http://x?a",
        "http://x\x1b[2J",
        "http://[::1",
    ],
)
def test_a_wrong_url_is_refused_with_the_fix(capsys: pytest.CaptureFixture[str], url: str) -> None:
    ended = commands.here(capsys, "node", "status", "--url", url)
    assert (ended.status, ended.out, len(ended.err.splitlines())) == (2, "", 1)
    assert ended.err.startswith("waypost: --url: ") and ended.err.rstrip("\n").isprintable()


def words_of(url: str, *more: str) -> list[str]:
    return ["-m", "waypost", "node", "status", "--url", url, "--watch", "0.2", *more]


async def test_watching_goes_on_while_the_node_is_away_and_ends_with_control_c(tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    async with running(words_of(url), tmp_path / "out.txt") as program:
        await until(lambda: program.output().count("cannot be reached") > 1)
        program.process.send_signal(signal.SIGINT)
        assert await asyncio.wait_for(program.process.wait(), 90) == 130
        assert "Traceback" not in program.output()


async def test_watching_as_json_is_a_line_each_time(tmp_path: Path) -> None:
    async with server(http(b"200 OK", OK)) as url, running(words_of(url, "--json"), tmp_path / "out.txt") as program:
        await until(lambda: program.output().count("\n") >= 3)
        lines = program.output().splitlines()[:3]
        assert [orjson.loads(line)["status"] for line in lines] == ["ready"] * 3


async def test_on_a_terminal_the_page_is_drawn_anew_within_its_size(tmp_path: Path) -> None:
    ours, its = os.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 8, 30, 0, 0))
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    environment = {name: value for name, value in environment.items() if name not in ("COLUMNS", "LINES")}
    models = b", ".join(b'"m%d": {"phase": "warm"}' % n for n in range(50))
    async with server(http(b"200 OK", b'{"status": "ready", "models": {%b}}' % models)) as url:
        process = await asyncio.create_subprocess_exec(
            sys.executable, *words_of(url), stdout=its, stderr=its, stdin=its, env=environment, cwd=tmp_path
        )
        os.close(its)
        try:
            seen = b""
            while seen.count(b"\x1b[2J") < 3:
                seen += await asyncio.to_thread(os.read, ours, 65536)
        finally:
            process.terminate()
            await process.wait()
            os.close(ours)
    drawn = seen.split(b"\x1b[3J")[1].partition(b"\x1b")[0].decode().split("\r\n")
    assert len([line for line in drawn if line]) <= 7
    assert max(map(len, drawn)) <= 30


async def test_who_reads_only_the_first_line_is_not_told_of_it(tmp_path: Path) -> None:
    async with server(http(b"200 OK", OK)) as url:
        command = f"{sys.executable} -m waypost node status --url {url} | true"
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        process = await asyncio.create_subprocess_shell(
            command, stderr=asyncio.subprocess.PIPE, env=environment, cwd=tmp_path
        )
        _, said = await asyncio.wait_for(process.communicate(), 60)
    assert said == b""
